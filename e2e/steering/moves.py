# SPDX-License-Identifier: Apache-2.0
"""Experiments on moves of an address from one node to another."""

import time

import lab
import rules

ACK = 0x10


def tcp(client, _pods):
    """A planned move with 100 open connections, without and with the rule."""
    for address in (lab.CLUSTER, lab.LOCAL):
        for kept in (False, True):
            lab.clear()
            lab.own(1, address)
            client.ask("open", name="a", count=100, to=address)
            if kept:
                rules.keep(2, rules.led(1))
            lab.own(2, address)
            yield f"{address}, kept {kept}", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)


def flows_of(number, address, lines=None):
    """The flows of UDP of an address that a node's conntrack knows, as elements of a set."""
    lines = lab.entries(number, address, "udp") if lines is None else lines
    # Read from its end, so that the words of the original direction are the ones that stay in a dict.
    flows = [dict(word.split("=", 1) for word in reversed(line.split()) if word.startswith(("src=", "sport=")))
             for line in lines]
    return [f"{flow['src']} . {flow['sport']}" for flow in flows]


def told(number, address, old, lines=None, known="ct status & confirmed == 0"):
    """The rules for UDP on a node: the flows of the predecessor's conntrack go back to it."""
    flows = flows_of(old, address, lines)
    elements = ", ".join(flows)
    family, kind = ("ip6", "ipv6_addr") if ":" in address else ("ip", "ipv4_addr")
    lab.nft(number, f"""table {family} steer {{
  counter led {{ }}
  set flows {{ type {kind} . inet_service; elements = {{ {elements} }} }}
  chain pre {{
    type filter hook prerouting priority -150; policy accept;
    {family} daddr {address} {family} saddr . udp sport @flows {known} counter name led {rules.to(old, family == "ip6")}
  }}
}}
""")
    return len(flows)


def told_at_ingress(number, address, old):
    """The same at the ingress hook, before conntrack."""
    count = told(number, address, old)
    family, place = ("ip6", "2001:db8:1::") if ":" in address else ("ip", "198.51.100.")
    listed = lab.within(f"n{number}", f"nft list set {family} steer flows").replace(f"table {family}", "table netdev")
    lab.within(f"n{number}", f"nft delete table {family} steer")
    lab.nft(number, listed + f"""table netdev steer {{
  counter led {{ }}
  chain in {{
    type filter hook ingress device eth0 priority -500; policy accept;
    {family} daddr {address} {family} saddr . udp sport @flows counter name led fwd {family} to {place}{old} device eth0
  }}
}}
""")
    return count


def udp(client, _pods):
    """1,000 datagrams a second from 20 flows through a planned move; 5 of the flows begin after it."""
    for address in (lab.CLUSTER, lab.LOCAL, lab.LOCAL6):
        for name, tell in (("nothing", None), ("told, dup", told), ("told, fwd at ingress", told_at_ingress)):
            lab.clear()
            lab.own(1, address)
            client.ask("datagrams", to=address, rate=1000, seconds=6, flows=20, late=5)
            time.sleep(2.5)
            count, begun = None, time.time()
            if tell:
                count = tell(2, address, 1)
            took = time.time() - begun
            moved = time.time()
            lab.own(2, address)
            result = client.ask("answered", since=moved)
            if tell:
                result["told"], result["telling s"] = count, round(took, 3)
                result["led on"] = lab.counters(2, family(name, address))["led"]
            yield f"{address}, {name}", result


def family(name, address):
    """The family of the table that holds an experiment's rules."""
    return "netdev" if "ingress" in name else "ip6" if ":" in address else "ip"


def udp_chain(client, pods):
    """1 -> 2 -> 3 -> 1 with 20 flows that want no answer, opened at node 1; three ways to say *unknown*."""
    for what, known in (("the set alone", ""), ("ct state new", "ct state new"),
                        ("ct status not confirmed", "ct status & confirmed == 0")):
        lab.clear()
        lab.own(1, lab.LOCAL)
        client.ask("silent", to=lab.LOCAL, flows=20)
        flows = lab.entries(1, lab.LOCAL, "udp")
        for new, old in ((2, 1), (3, 2), (1, 3)):
            told(new, lab.LOCAL, old, flows, known + " ip ttl > 1")
            lab.own(new, lab.LOCAL)
        for number in lab.NODES:
            pods[number].ask("silent")
        client.ask("silent", to=lab.LOCAL, flows=20)
        yield what, {"of 20, at each pod": {f"p{number}": sum(pods[number].ask("silent").values())
                                            for number in lab.NODES},
                     "led on by": {number: lab.counters(number)["led"] for number in lab.NODES}}


def chain(client, _pods):
    """1 -> 2 -> 3 -> 1, with 100 connections opened at each owner, and the rules of the design."""
    for address in (lab.CLUSTER, lab.LOCAL, lab.LOCAL6):
        six = ":" in address
        lab.clear()
        lab.own(1, address)
        client.ask("open", name="a", count=100, to=address)
        for new, old in ((2, 1), (3, 2), (1, 3)):
            rules.keep(new, *rules.full(old, six), six=six)
            lab.own(new, address)
            client.ask("open", name="a", count=100, to=address)
        result = client.ask("ask", name="a")
        result["led on by"] = {number: lab.counters(number, "ip6" if six else "ip")["led"] for number in lab.NODES}
        yield address, result
        client.ask("end", name="a", reset=True)


def order(client, _pods):
    """Histories in which an owner comes back, with two ways to say which node comes next."""
    for history in ((1, 2, 3, 2), (1, 2, 3, 1, 2), (1, 2, 1, 3)):
        for what in ("own predecessor", "order of last ownership"):
            lab.clear()
            lab.own(history[0], lab.LOCAL)
            client.ask("open", name="a", count=100, to=lab.LOCAL)
            for step in range(1, len(history)):
                if what == "own predecessor":
                    rules.keep(history[step], *rules.full(history[step - 1]))
                else:
                    in_order(history[:step + 1])
                lab.own(history[step], lab.LOCAL)
                client.ask("open", name="a", count=100, to=lab.LOCAL)
            yield f"{' -> '.join(map(str, history))}, {what}", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)


def in_order(history):
    """Each node that has had the address leads to the one that had it before, each node once; the last to none."""
    last = list(dict.fromkeys(reversed(history)))
    for number, old in reversed(list(zip(last, last[1:] + [None]))):
        if old is None:
            rules.replace(number, "ip")
        else:
            rules.keep(number, *rules.full(old))


def transition(client, _pods):
    """1 -> 2 -> 3 -> 2 or 1 under 300 busy connections, with 0.4 s between the changes of the last move."""
    def alone(number, old):
        return lambda: rules.keep(number, *rules.full(old))

    def by_origin(number, ways):
        return lambda: rules.design(number, ways)

    single, origin = (alone(3, 2), alone(2, 1)), (by_origin(3, {0: 2}), by_origin(2, {3: 1}))
    for what, new, begin, before, after in (
            ("one next node, the end of the order first", 2, single, (alone(3, 1), alone(2, 3)), ()),
            ("one next node, the new owner first", 2, single, (alone(2, 3), alone(3, 1)), ()),
            ("one next node, changed after the announcement", 2, single, (), (alone(2, 3), alone(3, 1))),
            ("the next node by origin, both generations", 2, origin,
             (by_origin(3, {0: 2, 2: 1}), by_origin(2, {0: 3, 3: 1})), (by_origin(2, {0: 3}), by_origin(3, {2: 1}))),
            ("the next node by origin, back to node 1", 1, origin,
             (by_origin(3, {0: 2, 1: 2}), by_origin(1, {0: 3})), (by_origin(3, {1: 2}), by_origin(2, {})))):
        lab.clear()
        for number in lab.NODES:
            lab.own(number, lab.LOCAL)
            client.ask("open", name="a", count=100, to=lab.LOCAL)
        for change in begin:
            change()
        client.ask("watch", name="a", seconds=5)
        for changes in (before, after):
            for change in changes:
                time.sleep(0.4)
                change()
            time.sleep(0.4)
            lab.own(new, lab.LOCAL)
        yield what, client.ask("watched", since=time.time())
        client.ask("end", name="a", reset=True)


def whole(client, pods):
    """The whole table of the design: TCP, UDP, ends of connections and stray packets after one move."""
    lab.own(1, lab.LOCAL)
    client.ask("open", name="a", count=100, to=lab.LOCAL)
    client.ask("datagrams", to=lab.LOCAL, rate=1000, seconds=4, flows=20)
    time.sleep(2)
    rules.design(2, {0: 1}, flows_of(1, lab.LOCAL))
    moved = time.time()
    lab.own(2, lab.LOCAL)
    yield "UDP", client.ask("answered", since=moved)
    yield "TCP", client.ask("ask", name="a")
    client.ask("end", name="a")
    time.sleep(0.5)
    yield "after FIN", {"predecessor": lab.states(1, lab.LOCAL), "open at the pod": pods[1].ask("open")["open"]}
    yield "stray ACK", client.ask("stray", to=lab.LOCAL, flags=ACK)


def stray(client, _pods):
    """One segment that nobody knows, in a ring 1 -> 3 -> 2 -> 1 of rules."""
    owner = f"ether saddr {rules.fellows(1)} {rules.SIMPLE} counter name ended accept"
    clamp = f"ether saddr != {rules.fellows()} {rules.SIMPLE} ip ttl set 8"
    floor = f"{rules.SIMPLE} ip ttl <= 1 counter name ended drop"
    reset = f"{rules.SIMPLE} ip ttl <= 1 counter name ended reject with tcp reset"
    for what, lines in (
            ("the rule alone", ()),
            ("ends at TTL 1", (floor,)),
            ("TTL set to 8 on the first hop, ends at TTL 1", (floor, clamp)),
            ("TTL set to 8 on the first hop, RST at TTL 1", (reset, clamp)),
            ("the owner leads no fellow's frame on", (owner,))):
        lab.clear()
        lab.own(1, lab.CLUSTER)
        for number, old in ((1, 3), (3, 2), (2, 1)):
            mine = [line for line in lines if line is not owner or number == 1]
            rules.keep(number, *mine, rules.led(old))
        begun = time.monotonic()
        result = client.ask("stray", to=lab.CLUSTER, flags=ACK, wait=1)
        seconds = time.monotonic() - begun
        first = sum(lab.counters(number)["led"] for number in lab.NODES)
        time.sleep(0.3)
        second = sum(lab.counters(number)["led"] for number in lab.NODES)
        for number in lab.NODES:
            lab.within(f"n{number}", "nft delete table ip steer")
        result |= {"hops": second, "still going": second > first, "hops/s": round(first / seconds)}
        yield what, result


def stray_six(client, _pods):
    """The same ring for IPv6, with the rule alone and with the rules of the design."""
    for what, lines in (("the rule alone", lambda old: [rules.led(old, six=True)]),
                        ("the rules of the design", lambda old: rules.full(old, True))):
        lab.clear()
        lab.own(1, lab.CLUSTER6)
        for number, old in ((1, 3), (3, 2), (2, 1)):
            rules.keep(number, *lines(old), six=True)
        result = client.ask("stray", to=lab.CLUSTER6, flags=ACK, wait=1)
        first = sum(lab.counters(number, "ip6")["led"] for number in lab.NODES)
        time.sleep(0.3)
        result["hops"] = sum(lab.counters(number, "ip6")["led"] for number in lab.NODES)
        yield what, result | {"still going": result["hops"] > first}
        lab.clear()


def dead(client, _pods):
    """The predecessor dies half a second after the move; 1.5 s later the successor's rule changes, or does not."""
    ends = "ct state new tcp flags & (syn|rst|ack) == ack counter name ended reject with tcp reset"
    for what, after, seconds in (("the rule stays", None, 60), ("the rule is taken away", (), 15),
                                 ("reject with tcp reset", (ends,), 15)):
        lab.clear()
        lab.own(1, lab.LOCAL)
        client.ask("open", name="a", count=100, to=lab.LOCAL)
        rules.keep(2, rules.led(1))
        lab.own(2, lab.LOCAL)
        client.ask("watch", name="a", seconds=seconds)
        time.sleep(0.5)
        since = time.time()
        lab.power(1, False)
        if after is not None:
            time.sleep(1.5)
            rules.keep(2, *after)
        yield what, client.ask("watched", since=since)
        client.ask("end", name="a", reset=True)
        lab.power(1, True)


def many(client, pods):
    """10,000 open connections through one move."""
    for address in (lab.CLUSTER, lab.LOCAL):
        for kept in (True, False):
            lab.clear()
            lab.own(1, address)
            opened = client.ask("open", name="a", count=10000, to=address)
            before = client.ask("ask", name="a", wait=20)
            begun = time.monotonic()
            if kept:
                rules.keep(2, rules.led(1))
            took = time.monotonic() - begun
            lab.own(2, address)
            result = client.ask("ask", name="a", wait=20)
            result |= {"opened": opened, "middle ms before": before["middle ms"], "rule s": round(took, 3),
                       "entries at the predecessor": len(lab.entries(1, address)),
                       "entries at the successor": len(lab.entries(2, address))}
            if kept:
                result["led on"] = lab.counters(2)["led"]
                result["again ms"] = client.ask("ask", name="a", wait=20)["middle ms"]
            yield f"{address}, kept {kept}", result
            client.ask("end", name="a", reset=True)
            time.sleep(1)
    result = {number: pods[number].ask("open")["open"] for number in lab.NODES}
    yield "open at the pods at the end", result


def loose(client, _pods):
    """nf_conntrack_tcp_loose 0 and 1, for forms of the rule."""
    forms = {"none": None, "state new": (rules.led(1),), "state new or invalid": (rules.led(1, rules.ALL),),
             "new, and FIN or RST of state invalid": (rules.led(1, rules.UNKNOWN), rules.led(1, rules.ENDING))}
    forms["RST by the node"] = ("ct state { new, invalid } tcp flags & (syn|rst|ack) == ack counter name ended "
                                "reject with tcp reset",)
    for value in (0, 1):
        for what, lines in forms.items():
            lab.clear()
            for number in lab.NODES:
                lab.sysctl(f"n{number}", netfilter__nf_conntrack_tcp_loose=value)
            lab.own(1, lab.CLUSTER)
            client.ask("open", name="a", count=100, to=lab.CLUSTER)
            if lines:
                rules.keep(2, *lines)
            lab.own(2, lab.CLUSTER)
            yield f"loose {value}, {what}", client.ask("ask", name="a", wait=4)
            client.ask("end", name="a", reset=True)


def ends(client, pods):
    """What the predecessor's conntrack knows after the client ended its connections by FIN, or by RST."""
    forms = {"as first tried": (rules.led(1),), "new, or invalid": (rules.led(1, rules.ALL),),
             "new, and RST of state invalid": (rules.led(1, rules.UNKNOWN), rules.led(1, rules.RESET)),
             "new, and FIN or RST of state invalid": (rules.led(1, rules.UNKNOWN), rules.led(1, rules.ENDING))}
    for what, lines in forms.items():
        for reset in (False, True):
            lab.clear()
            lab.own(1, lab.LOCAL)
            before = pods[1].ask("open")["open"]
            client.ask("open", name="a", count=100, to=lab.LOCAL)
            rules.keep(2, *lines)
            lab.own(2, lab.LOCAL)
            client.ask("ask", name="a")
            client.ask("end", name="a", reset=reset)
            time.sleep(1)
            yield f"{what}, {'RST' if reset else 'FIN'}", {
                "predecessor": lab.states(1, lab.LOCAL), "successor": lab.states(2, lab.LOCAL),
                "left open at the pod": pods[1].ask("open")["open"] - before}


def harmless(client, _pods):
    """A segment out of the window of a connection of the successor: who answers, and does the connection live?"""
    both = (rules.led(1, rules.UNKNOWN), rules.led(1, rules.ENDING))
    rejected = ("ct state invalid tcp flags & (syn|rst|ack) == ack counter name led reject with tcp reset",)
    for value, what, lines in ((1, "new, or invalid", (rules.led(1, rules.ALL),)), (1, "new, FIN or RST", both),
                               (0, "new, or invalid", (rules.led(1, rules.ALL),)), (0, "RST for invalid", rejected)):
        lab.clear()
        for number in lab.NODES:
            lab.sysctl(f"n{number}", netfilter__nf_conntrack_tcp_loose=value)
        rules.keep(2, *lines)
        lab.own(2, lab.LOCAL)
        client.ask("open", name="a", count=1, to=lab.LOCAL)
        answers = client.ask("outside", to=lab.LOCAL, name="a")
        yield f"loose {value}, {what}", {**answers, "matched": lab.counters(2)["led"], **client.ask("ask", name="a")}
        client.ask("end", name="a", reset=True)


def six(client, _pods):
    """IPv6: the planned move without and with the rule."""
    for address in (lab.CLUSTER6, lab.LOCAL6):
        for kept in (False, True):
            lab.clear()
            lab.own(1, address)
            client.ask("open", name="a", count=100, to=address)
            if kept:
                rules.keep(2, rules.led(1, six=True), six=True)
            lab.own(2, address)
            yield f"{address}, kept {kept}", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)


ALL = {"tcp": tcp, "udp": udp, "udp_chain": udp_chain, "chain": chain, "order": order, "transition": transition,
       "whole": whole, "stray": stray, "stray_six": stray_six, "dead": dead, "many": many, "loose": loose, "ends": ends,
       "harmless": harmless, "six": six}
