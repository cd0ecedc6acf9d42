# SPDX-License-Identifier: Apache-2.0
"""What a packet that is led on costs at the owner, against kube-proxy's own way in the same run."""

import subprocess
import sys
import time

import lab
import rules

FLOWS, SECONDS, RUNS = 16, 0.5, 7


def sink(space, device="eth0"):
    """Counts and drops the datagrams at the ingress of a device."""
    lab.within(space, "nft delete table netdev sink 2>/dev/null", False)
    lab.within(space, "nft -f -", True, f"""table netdev sink {{
  counter came {{ }}
  chain in {{
    type filter hook ingress device {device} priority -400; policy accept;
    udp length 26 counter name came drop
  }}
}}
""")


def unsink(space):
    """Takes the sink away and returns how many datagrams came."""
    listed = lab.within(space, "nft list counter netdev sink came")
    lab.within(space, "nft delete table netdev sink")
    return int(listed.split("packets")[1].split()[0])


def blast(ready=lambda: None):
    """One run: packets, nanoseconds of the processor for each. `ready` is called when the flows are known."""
    command = ["ip", "netns", "exec", lab.PREFIX + "cl", sys.executable, f"{lab.HERE}/blast.py", lab.LOCAL, str(FLOWS),
               str(SECONDS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        ready()
        packets, spent = map(int, process.communicate("go\n", timeout=60)[0].split())
    return packets, spent / packets


def arrival():
    """Dropped as soon as the owner has the frame: the part that all have in common."""
    return blast(lambda: sink("n1")), unsink("n1")


def bucket():
    """Led on by the rule with buckets at the owner's ingress, dropped where the frame leaves the node."""
    def ready():
        sink("sw", "n1")
        rules.spread(1, [2] * 1024, protocol="udp")
    return blast(ready), unsink("sw")


def flows():
    """Led on by a set of flows at the owner's ingress."""
    def ready():
        sink("sw", "n1")
        elements = ", ".join(f"{lab.CLIENT} . {20000 + number}" for number in range(2000))
        lab.nft(1, f"""table netdev steer {{
  set flows {{ type ipv4_addr . inet_service; elements = {{ {elements} }} }}
  chain in {{
    type filter hook ingress device eth0 priority -500; policy accept;
    ip daddr {lab.LOCAL} ip saddr . udp sport @flows fwd ip to 198.51.100.2 device eth0
  }}
}}
""")
    return blast(ready), unsink("sw")


def kept():
    """Led on by the rule for unknown connections at prerouting, dropped where the frame leaves the node."""
    def ready():
        sink("sw", "n1")
        lab.within("n1", "conntrack -F 2>/dev/null", False)
        rules.keep(1, "udp dport 80 ct state new counter name led " + rules.to(2))
    return blast(ready), unsink("sw")


def early():
    """Led on by dup before conntrack sees the packet, by a set of flows."""
    def ready():
        sink("sw", "n1")
        elements = ", ".join(f"{lab.CLIENT} . {20000 + number}" for number in range(2000))
        lab.nft(1, f"""table ip steer {{
  set flows {{ type ipv4_addr . inet_service; elements = {{ {elements} }} }}
  chain pre {{
    type filter hook prerouting priority -300; policy accept;
    ip daddr {lab.LOCAL} ip saddr . udp sport @flows {rules.to(2)}
  }}
}}
""")
    return blast(ready), unsink("sw")


def pod():
    """kube-proxy's way: to the pod on the node, dropped at the pod's ingress."""
    return blast(lambda: sink("p1")), unsink("p1")


def cost(_client, _pods):
    """The least of some short runs of each way, taken in turns."""
    lab.own(1, lab.LOCAL)
    ways = {"dropped at the owner's ingress": arrival, "led on by 1,024 buckets, fwd": bucket,
            "led on by a set of 2,000 flows, fwd": flows, "led on by dup, conntrack says unknown": kept,
            "led on by dup before conntrack, a set of 2,000 flows": early,
            "kube-proxy's way to the pod": pod}
    least, lost = {}, {}
    for _ in range(RUNS):
        for what, way in ways.items():
            lab.clear()
            (packets, spent), came = way()
            least[what] = min(least.get(what, spent), spent)
            lost[what] = lost.get(what, 0) + packets - came
    base = least["dropped at the owner's ingress"]
    for what, spent in least.items():
        yield what, {"ns a packet": round(spent), "more than the first": round(spent - base), "not arrived": lost[what]}
    proxy = least["kube-proxy's way to the pod"] - base
    yield "ratio to kube-proxy's way", {what: round((spent - base) / proxy, 2) for what, spent in least.items()}


def memory(_client, _pods):
    """What the kernel's memory grows by with a table of buckets, and with a set of flows; and how long nft takes."""
    flows = ", ".join(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255} . 5000" for number in range(60000))
    for what, make in (
            ("1,024 buckets", lambda: rules.spread(1, [1 + number % 3 for number in range(1024)])),
            ("60,000 flows", lambda: lab.nft(1, "table netdev steer {\n set flows { type ipv4_addr . inet_service; "
                                             f"elements = {{ {flows} }} }}\n}}\n"))):
        lab.clear()
        before, begun = kernel_memory(), time.monotonic()
        make()
        took = time.monotonic() - begun
        yield what, {"KiB": kernel_memory() - before, "seconds": round(took, 2)}


def kernel_memory():
    """Slab, page tables of vmalloc and per-CPU memory of the machine, in KiB."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        values = dict(line.split(":") for line in lines)
    return sum(int(values[name].split()[0]) for name in ("Slab", "VmallocUsed", "Percpu"))


ALL = {"cost": cost, "memory": memory}
