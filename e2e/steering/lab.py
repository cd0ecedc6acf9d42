# SPDX-License-Identifier: Apache-2.0
"""The rack: a switch, three nodes with a pod behind each, a client and a router, each a network namespace of its own.

All of it lives in mount, PID and network namespaces that end with this process, however that ends: nothing stays.
"""

import json
import os
import signal
import subprocess
import sys

PREFIX = "fst-"
CLUSTER, LOCAL = "192.0.2.10", "192.0.2.11"  # the addresses of the two Services, by externalTrafficPolicy
CLUSTER6, LOCAL6 = "2001:db8:2::10", "2001:db8:2::11"
NODES = (1, 2, 3)
CLIENT, CLIENT6 = "198.51.100.100", "2001:db8:1::100"
HERE = os.path.dirname(os.path.abspath(__file__))
SCRATCH = "/media"  # a folder that is in memory, and seen by this process and its children only
LIMIT = 1500  # seconds, for everything together


def enter():
    """Starts this program again inside namespaces that take everything with them when they end."""
    if os.environ.get("STEERING_INSIDE") != "1":
        os.environ["STEERING_INSIDE"] = "1"
        flags = ["--mount", "--net", "--pid", "--fork", "--kill-child"]
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
    run(f"mkdir -p /run/netns && mount -t tmpfs none /run/netns && mount -t tmpfs none {SCRATCH}")
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, _: sys.exit(f"ended by signal {number}"))
    signal.alarm(LIMIT)


def run(command, check=True, text=None):
    """Runs a shell command and returns its output."""
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, input=text, timeout=120)
    if check and done.returncode != 0:
        raise RuntimeError(f"{command}\n{text or ''}\n{done.stdout}{done.stderr}")
    return done.stdout


def within(space, command, check=True, text=None):
    """Runs a shell command in a namespace."""
    return run(f"ip netns exec {PREFIX}{space} {command}", check, text)


def ip(space, lines, check=True):
    """Gives lines to ip in a namespace."""
    return run(f"ip -n {PREFIX}{space} -batch -", check, lines)


def nft(node, rules):
    """Gives rules to nft on a node."""
    return within(f"n{node}", "nft -f -", True, rules)


def sysctl(space, **values):
    """Sets values below net in a namespace; a double underscore stands for the dot."""
    pairs = " ".join(f"net.{name.replace('__', '.')}={value}" for name, value in values.items())
    within(space, f"sysctl -qw {pairs}")


def hardware(number):
    """The hardware address of a node; the client has number 100, the router 200."""
    return f"02:f5:00:00:00:{number:02x}"


def attach(space, number, lines):
    """Makes a namespace that hangs at the switch by its eth0."""
    run(f"ip netns add {PREFIX}{space}")
    ip("sw", f"link add {space} type veth peer name eth0 netns {PREFIX}{space}\nlink set {space} master br0 up")
    ip(space, f"link set lo up\nlink set eth0 address {hardware(number)} up\n{lines}")
    sysctl(space, ipv4__conf__all__rp_filter=0, ipv4__conf__eth0__rp_filter=0, ipv6__conf__all__accept_dad=0)


def build():
    """Makes the switch, the client and the nodes with their pods."""
    run(f"ip netns add {PREFIX}sw")
    ip("sw", "link add br0 type bridge\nlink set br0 type bridge mcast_snooping 0\nlink set br0 up\nlink set lo up")
    attach("cl", 100, f"address add {CLIENT}/24 dev eth0\naddress add {CLIENT6}/64 dev eth0 nodad\n"
           "route add 192.0.2.0/24 dev eth0\nroute add 2001:db8:2::/64 dev eth0")
    forget("cl")
    attach("api", 201, "address add 198.51.100.201/24 dev eth0")
    for number in NODES:
        node(number)
    for number in NODES:
        others = [other for other in NODES if other != number]
        # Fellows know one another's hardware addresses, as members of a ring that talk all the time do.
        for other in others:
            within(f"n{number}", f"ping -q -c1 -W1 198.51.100.{other}")
            within(f"n{number}", f"ping -q -c1 -W1 2001:db8:1::{other}", False)


def forget(space):
    """Connections that a process there gave up do not speak into the next experiment."""
    sysctl(space, ipv4__tcp_orphan_retries=1, ipv4__tcp_fin_timeout=1, ipv4__tcp_max_tw_buckets=0)


def node(number):
    """Makes a node and the pod behind it, with routes as a CNI makes them that does not tunnel."""
    name, pod = f"n{number}", f"p{number}"
    attach(name, number, f"address add 198.51.100.{number}/24 dev eth0\n"
           f"address add 2001:db8:1::{number}/64 dev eth0 nodad")
    sysctl(name, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv4__conf__all__arp_ignore=1,
           ipv4__conf__all__arp_announce=2)
    run(f"ip netns add {PREFIX}{pod}")
    ip(name, f"link add pod type veth peer name eth0 netns {PREFIX}{pod}\nlink set pod up\n"
       f"address add 10.244.{number}.1/24 dev pod\naddress add fd00:244:{number}::1/64 dev pod nodad")
    ip(pod, f"link set lo up\nlink set eth0 up\naddress add 10.244.{number}.10/24 dev eth0\n"
       f"address add fd00:244:{number}::10/64 dev eth0 nodad\nroute add default via 10.244.{number}.1\n"
       f"route add default via fd00:244:{number}::1")
    forget(pod)
    for other in NODES:
        if other != number:
            ip(name, f"route add 10.244.{other}.0/24 via 198.51.100.{other}\n"
               f"route add fd00:244:{other}::/64 via 2001:db8:1::{other}")


def own(number, *addresses):
    """From now on the client sends to these addresses by way of this node, as after an announcement."""
    lines = (f"neigh replace {address} lladdr {hardware(number)} dev eth0 nud permanent" for address in addresses)
    ip("cl", "\n".join(lines))


def power(number, on):
    """Cuts a node from the switch, or puts it back."""
    ip("sw", f"link set n{number} {'up' if on else 'down'}")


def clear():
    """Takes away all tables of these experiments and all conntrack entries."""
    for number in NODES:
        power(number, True)
        for table in ("netdev steer", "ip steer", "ip6 steer"):
            within(f"n{number}", f"nft delete table {table} 2>/dev/null", False)
        within(f"n{number}", "conntrack -F 2>/dev/null", False)
        sysctl(f"n{number}", netfilter__nf_conntrack_tcp_loose=1)


def counters(number, family="ip"):
    """The packets of each named counter of the table `steer` of a node."""
    listed = json.loads(within(f"n{number}", f"nft -j list counters table {family} steer"))
    counted = (entry["counter"] for entry in listed["nftables"] if "counter" in entry)
    return {counter["name"]: counter["packets"] for counter in counted}


def entries(number, address=CLUSTER, protocol="tcp"):
    """The lines of a node's conntrack of one address."""
    family = "ipv6" if ":" in address else "ipv4"
    listed = within(f"n{number}", f"conntrack -L -f {family} -p {protocol} -d {address} 2>/dev/null", False)
    return [line for line in listed.splitlines() if line]


def states(number, address=CLUSTER):
    """How many TCP entries of an address a node has, by state."""
    found = {}
    for line in entries(number, address):
        state = line.split()[3]
        found[state] = found.get(state, 0) + 1
    return found


class Peer:
    """A process of peer.py in a namespace; `ask` sends it a command and returns the answer."""

    def __init__(self, space, *arguments):
        command = ["ip", "netns", "exec", PREFIX + space, sys.executable, f"{HERE}/peer.py", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise RuntimeError(f"{space}: the peer did not start")

    def ask(self, do, **what):
        """One command, one answer."""
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{do}: the peer ended")
        return json.loads(answer)

    def end(self):
        """Ends the process."""
        self.process.kill()
        self.process.wait()
