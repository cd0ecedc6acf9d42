#!/usr/bin/env bash
# Runs every fuzz target for so many seconds: scripts/fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=$1
if ! rustup toolchain list 2>/dev/null | grep -q ^nightly; then
  echo "missing: a nightly toolchain for fuzzing (rustup toolchain install nightly)" >&2
  exit 1
fi
command -v cargo-fuzz >/dev/null || cargo install --locked --quiet cargo-fuzz
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz
targets=$(cargo +nightly fuzz list)
for target in $targets; do
  echo "fuzzing $target for $seconds s"
  log=$(mktemp)
  corpus=$(mktemp -d)
  if ! cargo +nightly fuzz run "$target" "$corpus" -- -max_total_time="$seconds" -max_len=4096 >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    rm -rf "$log" "$corpus"
    exit 1
  fi
  grep -E '^Done' "$log" || true
  rm -rf "$log" "$corpus"
done
