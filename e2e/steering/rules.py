# SPDX-License-Identifier: Apache-2.0
"""The rules that are tried, as text for nft."""

import lab

SEED = "0x5eed"
ADDRESSES = f"{{ {lab.CLUSTER}, {lab.LOCAL} }}"
ADDRESSES6 = f"{{ {lab.CLUSTER6}, {lab.LOCAL6} }}"
SIMPLE = "ct state new tcp flags & (syn|rst|ack) == ack"
ALL = "ct state { new, invalid } tcp flags & syn == 0"
UNKNOWN = "ct state new tcp flags & (syn|rst|ack) == ack"
RESET = "ct state invalid tcp flags & rst == rst"
ENDING = "ct state invalid tcp flags & (fin|rst) != 0"
HOPS = 16  # how often a packet may be led on


def fellows(number=None):
    """The hardware addresses of all nodes but one."""
    return "{ " + ", ".join(lab.hardware(other) for other in lab.NODES if other != number) + " }"


def to(number, six=False):
    """The statement that leads a packet on at prerouting."""
    return f"dup to {f'2001:db8:1::{number}' if six else f'198.51.100.{number}'} device eth0 drop"


def replace(number, family, rules=""):
    """Puts a table in the place of the one that was there, if any, in one transaction: no packet meets no table."""
    lab.nft(number, f"table {family} steer\ndelete table {family} steer\n{rules}")


def keep(number, *lines, six=False):
    """Puts the rules for packets of unknown connections on a node, with a counter `led`."""
    family, addresses = ("ip6", ADDRESSES6) if six else ("ip", ADDRESSES)
    rules = "\n".join(f"    {line}" for line in lines)
    replace(number, family, f"""table {family} steer {{
  counter led {{ }}
  counter ended {{ }}
  chain pre {{
    type filter hook prerouting priority -150; policy accept;
    {family} daddr != {addresses} accept
{rules}
  }}
}}
""")


def full(old, six=False):
    """The lines of `keep` that the design has: both kinds of packets, and an end to every ring."""
    field = "ip6 hoplimit" if six else "ip ttl"
    clamp = f"ether saddr != {fellows()} {field} set {HOPS}"
    lines = []
    for match in (UNKNOWN, ENDING):
        lines += [f"{match} {field} <= 1 counter name ended reject with tcp reset", f"{match} {clamp}",
                  led(old, match, six)]
    return lines


def design(number, ways, told=(), seconds=600):
    """The whole table as docs/steering.md has it, with the next node by where a frame comes from.

    `ways[0]` is the next node for clients' packets, `ways[n]` for those that node n leads on; `told` are flows of UDP.
    """
    nexts = "".join(f"  chain to{other} {{\n    counter name led {to(other)}\n  }}\n" for other in set(ways.values()))
    fellow = ", ".join(f"{lab.hardware(origin)} : goto to{other}" for origin, other in ways.items() if origin)
    lines = [f"ether saddr vmap {{ {fellow} }}"] if fellow else []
    lines += [f"ether saddr {fellows()} accept"]
    lines += [f"ip ttl set {HOPS} goto to{ways[0]}"] if 0 in ways else []
    elements = f" elements = {{ {', '.join(told)} }};" if told else ""
    replace(number, "ip", f"""table ip steer {{
  counter led {{ }}
  set served {{ type ipv4_addr; flags timeout; }}
  set flows {{ type ipv4_addr . inet_service;{elements} }}
{nexts}  chain unknown {{
    ip ttl <= 1 meta l4proto tcp reject with tcp reset
    ip ttl <= 1 drop
""" + "".join(f"    {line}\n" for line in lines) + f"""  }}
  chain pre {{
    type filter hook prerouting priority -150; policy accept;
    ip daddr != @served accept
    {UNKNOWN} goto unknown
    {ENDING} goto unknown
    ip saddr . udp sport @flows ct status & confirmed == 0 goto unknown
  }}
}}
add element ip steer served {{ {lab.CLUSTER} timeout {seconds}s, {lab.LOCAL} timeout {seconds}s }}
""")


def led(old, match=SIMPLE, six=False):
    """One line of `keep`: what matches goes back to the node that had the address."""
    return f"{match} counter name led {to(old, six)}"


def spread(number, buckets, fellow=True, six=False, protocol="tcp", host=True, ports=True):
    """Puts buckets on a node: bucket i belongs to node buckets[i].

    With `fellow` frames of other nodes stay here; with `host` only frames to this node's own address are led on.
    """
    family, addresses = ("ip6", ADDRESSES6) if six else ("ip", ADDRESSES)
    place = "2001:db8:1::{}" if six else "198.51.100.{}"
    chains = "".join(f"""  chain to{other} {{
    counter name out{other}
    fwd {family} to {place.format(other)} device eth0
  }}
""" for other in lab.NODES if other != number)
    names = "".join(f"  counter out{other} {{ }}\n" for other in lab.NODES if other != number)
    verdicts = ", ".join(f"{bucket} : " + ("accept" if owner == number else f"goto to{owner}")
                         for bucket, owner in enumerate(buckets))
    stay = f"ether saddr {fellows(number)} counter name stayed accept" if fellow else ""
    mine = "meta pkttype != host accept" if host else ""
    key = f"{family} saddr . {protocol} sport" if ports else f"{family} saddr"
    others = f"{protocol} dport != 80 accept" if ports else f"meta l4proto != {protocol} accept"
    replace(number, "netdev", f"""table netdev steer {{
  counter stayed {{ }}
{names}{chains}  chain in {{
    type filter hook ingress device eth0 priority -500; policy accept;
    {mine}
    {family} daddr != {addresses} accept
    {others}
    {stay}
    jhash {key} mod {len(buckets)} seed {SEED} vmap {{ {verdicts} }}
  }}
}}
""")
