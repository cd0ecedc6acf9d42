# SPDX-License-Identifier: Apache-2.0
"""The servers in the pods and the client.

peer.py serve NAME: answers each TCP line and each UDP datagram with its name, on port 8080.
peer.py client: takes commands as lines of JSON from standard input and answers each with one line.
"""

import asyncio
import collections
import json
import resource
import socket
import struct
import sys
import time


class Server(asyncio.Protocol, asyncio.DatagramProtocol):
    """Both protocols; one instance for each connection."""

    name = b""
    open = 0
    silent = collections.Counter()  # datagrams that want no answer

    def connection_made(self, transport):
        self.transport = transport
        if not hasattr(transport, "sendto"):
            Server.open += 1

    def connection_lost(self, _error):
        Server.open -= 1

    def data_received(self, data):
        self.transport.write(b"%s\n" % self.name * data.count(b"\n"))

    def datagram_received(self, data, address):
        if data.startswith(b"-"):
            Server.silent[data] += 1
            return
        self.transport.sendto(self.name + b" " + data, address)


async def serve(name):
    """Serves, and tells on demand how many connections are open and which datagrams came that want no answer."""
    Server.name = name.encode()
    loop = asyncio.get_running_loop()
    await loop.create_server(Server, "::", 8080, backlog=4096)
    await loop.create_server(Server, "0.0.0.0", 8080, backlog=4096)
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        datagrams.bind((address, 8080))
        await loop.create_datagram_endpoint(Server, sock=datagrams)
    await commands({"open": lambda _: value({"open": Server.open}), "silent": lambda _: value(taken())})


def taken():
    """The datagrams that want no answer, by text, and counts from zero again."""
    counted = {text.decode(): count for text, count in Server.silent.items()}
    Server.silent.clear()
    return counted


async def value(result):
    """A value as a coroutine."""
    return result


async def commands(known):
    """Answers commands until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        what = json.loads(line)
        print(json.dumps(await known[what.pop("do")](what)), flush=True)


class Client:
    """Groups of TCP connections by name, and streams of datagrams."""

    def __init__(self):
        self.groups = {}
        self.running = None

    async def open(self, what):
        """Opens connections and asks once by each."""
        failed = 0
        group = self.groups.setdefault(what["name"], [])
        begun = time.monotonic()

        async def one():
            nonlocal failed
            try:
                pair = await asyncio.wait_for(asyncio.open_connection(what["to"], 80), 10)
                group.append(pair)
                await asyncio.wait_for(line(pair), 10)
            except (OSError, asyncio.TimeoutError):
                failed += 1

        for first in range(0, what["count"], 100):
            await asyncio.gather(*(one() for _ in range(min(100, what["count"] - first))))
        return {"open": len(group), "failed": failed, "seconds": round(time.monotonic() - begun, 2)}

    async def ask(self, what):
        """Asks by each connection of a group: how many are alive, who answered, what went wrong."""
        pods, errors, times = collections.Counter(), collections.Counter(), []

        async def one(pair):
            begun = time.monotonic()
            try:
                pods[await asyncio.wait_for(line(pair), what.get("wait", 5))] += 1
                times.append(time.monotonic() - begun)
            except (OSError, asyncio.TimeoutError) as error:
                errors[type(error).__name__] += 1

        group = self.groups[what["name"]]
        for first in range(0, len(group), 100):
            await asyncio.gather(*(one(pair) for pair in group[first:first + 100]))
        times.sort()
        middle = round(times[len(times) // 2] * 1000, 2) if times else None
        return {"alive": sum(pods.values()), "of": len(group), "pods": dict(sorted(pods.items())),
                "errors": dict(errors), "middle ms": middle, "worst ms": round(times[-1] * 1000, 1) if times else None}

    async def end(self, what):
        """Ends a group's connections: by FIN, or by RST."""
        for _, writer in self.groups.pop(what["name"]):
            own = writer.get_extra_info("socket")
            if what.get("reset") and own.fileno() >= 0:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
        await asyncio.sleep(0.1)
        return {}

    async def watch(self, what):
        """Starts to ask by each connection of a group every 50 ms; `watched` tells of it."""
        end = time.monotonic() + what["seconds"]

        async def one(pair):
            gap, last, asked = 0.0, time.monotonic(), time.monotonic()
            try:
                while (left := end - time.monotonic()) > 0:
                    asked = time.monotonic()
                    await asyncio.wait_for(line(pair), left)
                    gap, last = max(gap, time.monotonic() - last), time.monotonic()
                    await asyncio.sleep(0.05)
                return "alive", gap, None
            except (OSError, asyncio.TimeoutError) as error:
                if isinstance(error, asyncio.TimeoutError) and time.monotonic() - asked < 0.3:
                    return "alive", gap, None  # the watch ended while an answer was on its way
                return type(error).__name__, time.monotonic() - asked, time.time()

        self.running = asyncio.gather(*(one(pair) for pair in self.groups[what["name"]]))
        return {}

    async def watched(self, what):
        """Waits for `watch`: how many ended how, the longest time without an answer, errors in s after `since`."""
        ends = collections.defaultdict(list)
        for kind, gap, at in await self.running:
            ends[kind].append((gap, (at - what["since"]) if at and "since" in what else 0))
        return {kind: {"count": len(of), "longest gap s": round(max(gap for gap, _ in of), 2),
                       "middle gap s": round(sorted(gap for gap, _ in of)[len(of) // 2], 2),
                       "error at s": [round(min(at for _, at in of), 2), round(max(at for _, at in of), 2)]}
                for kind, of in ends.items()}

    async def datagrams(self, what):
        """Starts to send datagrams at a rate from a number of flows; `answered` tells of it."""
        self.running = asyncio.create_task(stream(what))
        await asyncio.sleep(0)
        return {}

    async def answered(self, what):
        """Waits for `datagrams`."""
        sent, flows = await self.running
        lost = {number: at for number, at in sent.items() if not any(number in flow for flow in flows)}
        moved = since = 0
        for flow in flows:
            before = {pod for pod, at in flow.values() if at < what["since"]}
            after = {pod for pod, at in flow.values() if at > what["since"] + 0.05}
            moved += bool(before) and bool(after - before)
            since += not before
        offsets = sorted(at - what["since"] for at in lost.values())
        return {"sent": len(sent), "lost": len(lost), "flows": len(flows), "flows at another pod after it": moved,
                "flows begun after it": since, "lost at s": [round(at, 2) for at in offsets[:1] + offsets[-1:]]}

    async def silent(self, what):
        """Sends datagrams that want no answer, from flows that stay: the text names the flow."""
        flows = self.groups.setdefault("silent", [])
        while len(flows) < what["flows"]:
            flows.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for number, flow in enumerate(flows):
            flow.sendto(b"-%d" % number, (what["to"], 80))
        await asyncio.sleep(0.3)
        return {}

    async def outside(self, what):
        """Sends a segment out of the window of a group's one connection, with the right acknowledgement."""
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        raw.setblocking(False)
        pair = self.groups[what["name"]][0]
        await line(pair)
        await asyncio.sleep(0.2)
        port = pair[1].get_extra_info("sockname")[1]
        expected = sequence = 0
        while True:
            try:
                packet = raw.recv(2000)
            except BlockingIOError:
                break
            segment = packet[20:]
            if struct.unpack("!H", segment[2:4])[0] == port:
                begin, sequence = struct.unpack("!II", segment[4:12])
                expected = begin + len(segment) - (segment[12] >> 4) * 4
        raw.close()
        return await self.stray({"to": what["to"], "flags": 0x10, "port": port, "ack": expected % (1 << 32),
                                 "seq": (sequence + 0x10000000) % (1 << 32)})

    async def stray(self, what):
        """Sends one TCP segment that belongs to nothing, and says what came back."""
        six = ":" in what["to"]
        raw = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        raw.setblocking(False)
        raw.connect((what["to"], 0))
        port = what.get("port", 61000)
        numbers = what.get("seq", 1000), what.get("ack", 2000)
        header = struct.pack("!HHIIBBHHH", port, 80, *numbers, 5 << 4, what["flags"], 1000, 0, 0)
        addresses = [socket.inet_pton(raw.family, name) for name in (raw.getsockname()[0], what["to"])]
        total = checksum(b"".join(addresses) + struct.pack("!HH", 6, len(header)) + header)
        raw.send(header[:16] + struct.pack("!H", total) + header[18:])
        answers, loop, end = [], asyncio.get_running_loop(), time.monotonic() + what.get("wait", 1)
        while (left := end - time.monotonic()) > 0:
            try:
                packet = await asyncio.wait_for(loop.sock_recv(raw, 2000), left)
            except asyncio.TimeoutError:
                break
            segment = packet if six else packet[(packet[0] & 15) * 4:]
            if struct.unpack("!H", segment[2:4])[0] == port:
                answers.append("RST" if segment[13] & 4 else f"flags {segment[13]:#x}")
        raw.close()
        return {"answers": answers}


def checksum(data):
    """The checksum of the Internet (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Flow(asyncio.DatagramProtocol):
    """One socket of a stream: which datagram was answered by whom, and when."""

    def __init__(self):
        self.seen = {}

    def datagram_received(self, data, _address):
        pod, number = data.split()
        self.seen[int(number)] = (pod.decode(), time.time())

    def error_received(self, _error):
        pass


async def stream(what):
    """Sends, waits a second for the last answers, and returns when each was sent and the answers of each flow."""
    loop = asyncio.get_running_loop()
    flows = [await loop.create_datagram_endpoint(Flow, remote_addr=(what["to"], 80)) for _ in range(what["flows"])]
    begun, sent = time.time(), {}
    late = what.get("late", 0)  # flows that begin only half way
    total = what["rate"] * what["seconds"]
    for number in range(total):
        ahead = begun + number / what["rate"] - time.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        use = flows if number > total / 2 or not late else flows[:-late]
        use[number % len(use)][0].sendto((b"%d" % number).ljust(what.get("size", 1)))
        sent[number] = time.time()
    await asyncio.sleep(1)
    for transport, _ in flows:
        transport.close()
    return sent, [flow.seen for _, flow in flows]


async def line(pair):
    """Sends a line and returns the answer."""
    reader, writer = pair
    writer.write(b"x\n")
    answer = await reader.readline()
    if not answer:
        raise ConnectionError("the other side ended")
    return answer.decode().strip()


async def client():
    """Takes commands."""
    self = Client()
    names = ("open", "ask", "end", "watch", "watched", "datagrams", "answered", "stray", "silent",
             "outside")
    await commands({name: getattr(self, name) for name in names})


HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
asyncio.run(serve(sys.argv[2]) if sys.argv[1] == "serve" else client())
