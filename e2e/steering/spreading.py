# SPDX-License-Identifier: Apache-2.0
"""Experiments on one address that several nodes serve."""

import time

import lab
import rules

WHOLE = [1, 2, 3, 1, 2, 3]
WITHOUT_1 = [2, 2, 3, 3, 2, 3]
WITHOUT_3 = [1, 2, 1, 1, 2, 2]
FAR, FAR_NET = "203.0.113.2", "203.0.113.0/24"


def shares(client, _pods):
    """Who serves 300 new connections, as today and with buckets at the owner; both families."""
    for address in (lab.LOCAL, lab.LOCAL6):
        for buckets in (None, WHOLE):
            lab.clear()
            if buckets:
                rules.spread(1, buckets, six=":" in address)
            lab.own(1, address)
            client.ask("open", name="a", count=300, to=address)
            yield f"{address}, {'buckets' if buckets else 'as today'}", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)


def drain(client, _pods):
    """A node's buckets go to the two others in a planned way, without and with a predecessor for each bucket."""
    for address in (lab.LOCAL, lab.LOCAL6):
        six = ":" in address
        for kept in (False, True):
            lab.clear()
            lab.own(1, address)
            rules.spread(1, WHOLE, six=six)
            client.ask("open", name="a", count=300, to=address)
            if kept:
                for number in (1, 2):
                    keep_buckets(number, WHOLE, WITHOUT_3, six)
            rules.spread(1, WITHOUT_3, six=six)
            yield f"{address}, kept {kept}", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)


def keep_buckets(number, before, after, six=False):
    """The rule with a predecessor for each bucket that came to this node."""
    family = "ip6" if six else "ip"
    came = {bucket: before[bucket] for bucket in range(len(after))
            if after[bucket] == number and before[bucket] != number}
    chains = "".join(f"  chain back{old} {{\n    counter name led {rules.to(old, six)}\n  }}\n"
                     for old in set(came.values()))
    verdicts = ", ".join(f"{bucket} : goto back{old}" for bucket, old in came.items())
    if not came:
        rules.replace(number, family)
        return
    rules.replace(number, family, f"""table {family} steer {{
  counter led {{ }}
{chains}  chain unknown {{
    jhash {family} saddr . tcp sport mod {len(after)} seed {rules.SEED} vmap {{ {verdicts} }}
  }}
  chain pre {{
    type filter hook prerouting priority -150; policy accept;
    {family} daddr != {rules.ADDRESSES6 if six else rules.ADDRESSES} accept
    {rules.UNKNOWN} goto unknown
    {rules.ENDING} goto unknown
  }}
}}
""")


def change(before, after):
    """New buckets on every node: first the predecessors everywhere, then the buckets."""
    for number in lab.NODES:
        keep_buckets(number, before, after)
    for number in lab.NODES:
        rules.spread(number, after)


def owner(client, _pods):
    """The owner loses its link under 300 busy connections; 0.4 s later the next owner has the address."""
    for address in (lab.LOCAL, lab.CLUSTER):
        for spread in (False, True):
            lab.clear()
            lab.own(1, address)
            if spread:
                for number in lab.NODES:
                    rules.spread(number, WHOLE)
            client.ask("open", name="a", count=300, to=address)
            client.ask("watch", name="a", seconds=14)
            time.sleep(0.5)
            since = time.time()
            lab.power(1, False)
            time.sleep(max(0.0, since + 0.4 - time.time()))
            if spread:
                for number in (2, 3):
                    rules.spread(number, WITHOUT_1)
            lab.own(2, address)
            yield f"{address}, {'buckets' if spread else 'as today'}", client.ask("watched", since=since)
            client.ask("end", name="a", reset=True)
            lab.power(1, True)


def router():
    """A router with three next hops, and a client behind it."""
    lab.attach("r", 200, "address add 198.51.100.200/24 dev eth0")
    lab.run(f"ip netns add {lab.PREFIX}far")
    lab.ip("r", f"link add far type veth peer name eth0 netns {lab.PREFIX}far\nlink set far up\n"
           "address add 203.0.113.1/24 dev far")
    lab.ip("far", f"link set lo up\nlink set eth0 up\naddress add {FAR}/24 dev eth0\nroute add default via 203.0.113.1")
    lab.forget("far")
    lab.sysctl("r", ipv4__ip_forward=1, ipv4__fib_multipath_hash_policy=1, ipv4__conf__all__rp_filter=0)
    for number in lab.NODES:
        lab.ip(f"n{number}", f"route add {FAR_NET} via 198.51.100.200")


def hops(address, *numbers):
    """The router's next hops for an address."""
    lab.ip("r", f"route replace {address}/32 " + " ".join(f"nexthop via 198.51.100.{number}" for number in numbers))


def ecmp(_client, _pods):
    """One of three next hops leaves and comes back, 100 open connections each time."""
    router()
    for address in (lab.LOCAL, lab.CLUSTER):
        for what, buckets, moved in (("as today", False, False), ("buckets on every node, unchanged", True, False),
                                     ("buckets on every node, moved with predecessors", True, True)):
            lab.clear()
            for number in lab.NODES if buckets else ():
                rules.spread(number, WHOLE)
            hops(address, 1, 2, 3)
            client = lab.Peer("far", "client")
            client.ask("open", name="a", count=100, to=address)
            if moved:
                change(WHOLE, WITHOUT_3)
            hops(address, 1, 2)
            yield f"{address}, {what}: node 3 leaves", client.ask("ask", name="a")
            client.ask("end", name="a", reset=True)
            client.ask("open", name="b", count=100, to=address)
            if moved:
                change(WITHOUT_3, WHOLE)
            hops(address, 1, 2, 3)
            yield f"{address}, {what}: node 3 comes back", client.ask("ask", name="b")
            if buckets:
                counted = [lab.counters(number, "netdev") for number in lab.NODES]
                yield f"{address}, {what}: frames", {
                    "led on": sum(value for of in counted for name, value in of.items() if name != "stayed"),
                    "of fellows": sum(of["stayed"] for of in counted)}
            client.end()


def fellow(client, _pods):
    """Two nodes whose tables disagree: each says that the other serves everything."""
    for known in (False, True):
        lab.clear()
        lab.own(1, lab.LOCAL)
        rules.spread(1, [2], fellow=known)
        rules.spread(2, [1], fellow=known)
        stray = client.ask("stray", to=lab.LOCAL, flags=0x10, wait=1)
        frames = {number: sum(lab.counters(number, "netdev").values()) for number in (1, 2)}
        opened = client.ask("open", name="a", count=20, to=lab.LOCAL)
        asked = client.ask("ask", name="a")
        yield f"fellows known {known}", {"one segment": stray["answers"], "frames for it": frames,
                                         "failed": opened["failed"], "alive": asked["alive"], "pods": asked["pods"]}
        client.ask("end", name="a", reset=True)


def flooded(client, _pods):
    """One segment to a hardware address that the switch does not know, so that every node gets the frame."""
    for host in (False, True):
        lab.clear()
        for number in lab.NODES:
            rules.spread(number, WHOLE, host=host)
        lab.own(1, lab.LOCAL)
        lab.power(1, False)
        for port in range(61000, 61006):
            client.ask("stray", to=lab.LOCAL, flags=0x10, port=port, wait=0.1)
        yield f"own frames only {host}: led on, of 6", {number: {
            name: value for name, value in lab.counters(number, "netdev").items() if name != "stayed"}
            for number in (2, 3)}


def fragments(client, _pods):
    """Datagrams of 4,000 octets under spreading, by a hash with ports and by a hash of the address alone."""
    for ports in (True, False):
        lab.clear()
        rules.spread(1, [2, 2, 3, 3], protocol="udp", ports=ports)
        lab.own(1, lab.LOCAL)
        client.ask("datagrams", to=lab.LOCAL, rate=100, seconds=1, flows=20, size=4000)
        answered = client.ask("answered", since=time.time())
        yield f"hash with ports {ports}", {"sent": answered["sent"], "lost": answered["lost"]}


def unresolved(client, _pods):
    """The first frame to a fellow whose hardware address is not known."""
    for hook in ("fwd", "dup"):
        lab.clear()
        lab.own(1, lab.LOCAL)
        if hook == "fwd":
            rules.spread(1, [2])
        else:
            rules.keep(1, "counter name led " + rules.to(2))
        lab.ip("n1", "neigh flush dev eth0")
        lab.within("n1", "ip neigh del 198.51.100.2 dev eth0", False)
        client.ask("open", name="a", count=1, to=lab.LOCAL)
        yield hook, client.ask("ask", name="a")
        client.ask("end", name="a", reset=True)


ALL = {"shares": shares, "drain": drain, "owner": owner, "ecmp": ecmp, "fellow": fellow, "flooded": flooded,
       "fragments": fragments, "unresolved": unresolved}
