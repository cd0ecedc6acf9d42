# SPDX-License-Identifier: Apache-2.0
"""Experiments on sets whose elements run out by themselves."""

import time

import lab
import rules

TABLE = """table netdev steer {
  counter matched { }
  counter missed { }
  set served { type ipv4_addr; flags timeout; }
  chain in {
    type filter hook ingress device eth0 priority -500; policy accept;
    udp dport != 80 accept
    ip daddr @served counter name matched accept
    ip daddr 192.0.2.11 counter name missed accept
  }
}
"""
ADD = f"add element netdev steer served {{ {lab.LOCAL} timeout %s }}\n"
DELETE = f"delete element netdev steer served {{ {lab.LOCAL} }}\n"


def stream(client, seconds):
    """Starts datagrams to the node that has the set."""
    lab.clear()
    lab.own(1, lab.LOCAL)
    lab.nft(1, TABLE)
    client.ask("datagrams", to=lab.LOCAL, rate=1000, seconds=seconds, flows=10)


def told(client, begun):
    """The counters and how long the stream was."""
    answered = client.ask("answered", since=begun)
    return {"lost": answered["lost"], **lab.counters(1, "netdev")}


def expiry(client, _pods):
    """An element of 2 s, never renewed: matches during 2 s of 4, then nothing matches."""
    stream(client, 4)
    lab.nft(1, ADD % "2s")
    begun = time.time()
    result = told(client, begun)
    result["list afterwards"] = "elements" in lab.within("n1", "nft list set netdev steer served")
    yield "2 s, never renewed", result


def renewal(client, _pods):
    """Ways to renew an element of 2 s every second, and what was missed after the first one was there."""
    turns = [ADD % "2s", ADD % "3s"]
    for what, text in (("add with the same time-out", ADD % "2s"), ("add with another time-out each time", turns),
                       ("add with expires", ADD % "2s expires 2s"),
                       ("delete and add in one transaction", DELETE + ADD % "2s"),
                       ("flush and add in one transaction", "flush set netdev steer served\n" + ADD % "2s")):
        lab.clear()
        lab.own(1, lab.LOCAL)
        lab.nft(1, TABLE)
        lab.nft(1, ADD % "2s")
        begun = time.time()
        client.ask("datagrams", to=lab.LOCAL, rate=2000, seconds=6, flows=10)
        failed = 0
        for number in range(1, 6):
            time.sleep(max(0.0, begun + number - time.time()))
            try:
                lab.nft(1, text[number % 2] if text is turns else text)
            except RuntimeError:
                failed += 1
        yield what, {**told(client, begun), "refused": failed}


def often(client, _pods):
    """Delete and add in one transaction 200 times during 10,000 datagrams: is there a gap?"""
    for what, text in (("add", ADD % "9s"), ("delete and add", DELETE + ADD % "9s")):
        lab.clear()
        lab.own(1, lab.LOCAL)
        lab.nft(1, TABLE)
        lab.nft(1, ADD % "9s")
        begun = time.time()
        client.ask("datagrams", to=lab.LOCAL, rate=2500, seconds=4, flows=10)
        count = 0
        while count < 200 and time.time() < begun + 3.9:
            lab.nft(1, text)
            count += 1
        yield what, {**told(client, begun), "renewed": count}


def late(_client, _pods):
    """A renewal that comes after the element ran out."""
    for what, text in (("delete and add", DELETE + ADD % "2s"),
                       ("destroy and add", DELETE.replace("delete", "destroy") + ADD % "2s"),
                       ("flush and add", "flush set netdev steer served\n" + ADD % "2s")):
        lab.clear()
        lab.nft(1, TABLE)
        lab.nft(1, ADD % "100ms")
        time.sleep(0.5)
        try:
            lab.nft(1, text)
        except RuntimeError as error:
            yield what, {"refused": str(error).splitlines()[-3:]}
        else:
            yield what, {"there": "elements" in lab.within("n1", "nft list set netdev steer served")}


def fails_open(client, _pods):
    """The rules of the design behind a set whose element runs out after 3 s: the process that renews it is gone."""
    lab.own(1, lab.LOCAL)
    client.ask("open", name="a", count=100, to=lab.LOCAL)
    rules.design(2, {0: 1}, seconds=3)
    lab.own(2, lab.LOCAL)
    yield "at once", client.ask("ask", name="a")
    time.sleep(3.2)
    yield "after 3.2 s", {**client.ask("ask", name="a"), **client.ask("open", name="b", count=100, to=lab.LOCAL)}
    yield "new connections after it", client.ask("ask", name="b")


def shorter(_client, _pods):
    """What an add of an element that is there does to its time-out."""
    lab.nft(1, TABLE)
    for text in ("20s", "20s", "5s", "60s"):
        lab.nft(1, ADD % text)
        time.sleep(1)
        listed = lab.within("n1", "nft list set netdev steer served")
        yield f"add with {text}, a second later", listed.split("elements = {")[1].split("}")[0].strip()


def traffic(client, _pods):
    """A flow's element of 2 s that each packet of the flow renews: `update @flows`."""
    lab.own(1, lab.LOCAL)
    lab.nft(1, f"""table netdev steer {{
  counter matched {{ }}
  counter missed {{ }}
  set flows {{ type ipv4_addr . inet_service; size 65536; flags dynamic,timeout; }}
  chain in {{
    type filter hook ingress device eth0 priority -500; policy accept;
    ip daddr != {lab.LOCAL} accept
    ip saddr . udp sport @flows update @flows {{ ip saddr . udp sport timeout 2s }} counter name matched accept
    counter name missed
  }}
}}
add element netdev steer flows {{ {lab.CLIENT} . 61000 timeout 2s }}
""")
    sent = 0
    for pause in (1, 1, 1, 1, 3):
        lab.within("cl", f"{SEND} {lab.LOCAL}")
        sent += 1
        time.sleep(pause)
    lab.within("cl", f"{SEND} {lab.LOCAL}")
    yield "four datagrams a second apart, and one after 3 s more", lab.counters(1, "netdev")


SEND = "/usr/bin/env python3 -c 'import socket, sys; s = socket.socket(2, 2); s.bind((\"\", 61000)); " \
    "s.sendto(b\"-\", (sys.argv[1], 80))'"
ALL = {"expiry": expiry, "renewal": renewal, "often": often, "late": late, "fails_open": fails_open,
       "shorter": shorter, "traffic": traffic}
