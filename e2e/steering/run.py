#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays the experiments of docs/steering.md: run.py [--proxy nftables|iptables] [NAME...]"""

import argparse
import json
import sys
import time

sys.dont_write_bytecode = True

import cost
import lab
import moves
import proxy
import sets
import spreading

KNOWN = {**moves.ALL, **spreading.ALL, **cost.ALL, **sets.ALL}


def main():
    """Builds the rack once and plays each experiment on it."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--proxy", default="nftables", choices=["nftables", "iptables"])
    given.add_argument("names", nargs="*", help=" ".join(KNOWN))
    given = given.parse_args()
    if unknown := set(given.names) - set(KNOWN):
        sys.exit(f"unknown: {' '.join(sorted(unknown))}; known: {' '.join(KNOWN)}")
    lab.enter()
    lab.build()
    cluster = proxy.Cluster()
    cluster.up(given.proxy)
    failed = 0
    for name in given.names or KNOWN:
        pods = {number: lab.Peer(f"p{number}", "serve", f"p{number}") for number in lab.NODES}
        client = lab.Peer("cl", "client")
        lab.clear()
        begun = time.monotonic()
        try:
            for what, result in KNOWN[name](client, pods):
                print(f"{name} | {what} | {json.dumps(result, ensure_ascii=False)}", flush=True)
        except (RuntimeError, KeyError, ValueError) as error:
            failed += 1
            print(f"{name} | failed | {type(error).__name__}: {error}", flush=True)
        print(f"# {name}: {time.monotonic() - begun:.0f} s", flush=True)
        for peer in (client, *pods.values()):
            peer.end()
    sys.exit(failed)


if __name__ == "__main__":
    main()
