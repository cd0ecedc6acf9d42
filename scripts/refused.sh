#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Instructions that refusing a stranger's input costs, by callgrind: the difference of two counts, so that the start does not matter.
set -eu
cd "$(dirname "$0")/.."
cargo build -q --release -p members --example refused
program=${CARGO_TARGET_DIR:-target}/release/examples/refused
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : *//p'
}
for case in datagram-200 datagram-1400 datagram-200-three-keys datagram-of-no-kind heartbeat-200 stream-in-the-clear; do
    few=$(instructions $case 1000)
    many=$(instructions $case 3000)
    echo "$case $(( (many - few) / 2000 ))"
done
for case in octet-of-a-sealed-stream octet-of-a-stream-without-a-key; do
    few=$(instructions $case 1000000)
    many=$(instructions $case 3000000)
    echo "$case $(( (many - few) / 200000 ))e-1"
done
