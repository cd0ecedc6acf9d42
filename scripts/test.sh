#!/usr/bin/env bash
# All tests, with the time that each part took. Parts that do not need each other's cores run side by side.
set -uo pipefail
cd "$(dirname "$0")/.."

# `bin` is where the programs are: the Makefile says so.
times=$(mktemp)
failed=()
trap 'rm -f "$times"' EXIT

need() { # need COMMAND WHERE
  command -v "$1" >/dev/null || { echo "missing: $1 ($2)" >&2; exit 1; }
}

part() { # part NAME COMMAND...
  local name=$1 begin
  shift
  begin=$(date +%s)
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '%5d s  %s\n' "$(($(date +%s) - begin))" "$name" >>"$times"
  else
    printf '%5d s  %s (FAILED)\n' "$(($(date +%s) - begin))" "$name" >>"$times"
    failed+=("$name")
    return 1
  fi
}

[ "$(id -u)" -eq 0 ] || { echo "missing: root (the tests make network namespaces)" >&2; exit 1; }
need cargo "https://rustup.rs, 1.95 or later"
need go "https://go.dev/dl, 1.25 or later"

part "Debian packages" scripts/packages.sh $(cat e2e/packages) || exit 1
part "control plane (Go)" e2e/cluster/build.sh || exit 1
part "helm and kustomize (Go)" e2e/helm/build.sh || exit 1
part "member by HashiCorp's memberlist (Go)" e2e/ring/build.sh || exit 1
part "MetalLB 0.15.2 (Go)" e2e/metallb/build.sh || exit 1
part "programs (profile ci)" make --no-print-directory bins || exit 1
part "images" make --no-print-directory image || exit 1
part "images, packed again" scripts/image-again.sh "$bin" "$bin/images"
ignored_tests_are_named() {
  local file crate missing=0
  for file in $(grep -l '#\[ignore' */tests/*.rs); do
    crate=${file%%/*}
    grep -Eq "^part .* -p $crate .*--test $(basename "$file" .rs) .*--ignored" scripts/test.sh || {
      echo "$file has tests that nobody runs: name the file in scripts/test.sh" >&2
      missing=1
    }
  done
  return $missing
}
part "tests that need root are named here" ignored_tests_are_named
part "citations have their sections" scripts/citations.sh
part "format and lints" make --no-print-directory lint
part "unit and property tests" make --no-print-directory unit
part "whole speakers, simulated" env FERROLB_SEEDS=2000 \
  cargo test -q --profile ci -p speaker --no-default-features --test simulation whatever_happens
part "namespaces of tests" cargo test -q -p testlab --test namespace -- --ignored --test-threads 2
part "ARP and NDP in namespaces" cargo test -q -p l2 --test namespace -- --ignored --test-threads 2
part "routes of the host, and a start, in namespaces" cargo test -q -p speaker --test host_routes --test start -- --ignored --test-threads 2
part "BFD in namespaces" cargo test -q -p bfd --test namespace --test routers -- --ignored --test-threads 2
part "BGP in namespaces, with real routers" cargo test -q -p bgp --test namespace --test routers --test router_rules -- --ignored --test-threads 2
part "rings with HashiCorp's members in namespaces" cargo test -q -p members --test ring --test closed_port --test attacks -- --ignored --test-threads 2
part "nftables of steering in namespaces" cargo test -q -p steer --lib --test namespace --test packets --test spread --test buckets -- --ignored --test-threads 2
part "tables that a speaker left, in a namespace" cargo test -q -p cli --test clear_node -- --ignored
part "manifests" scripts/manifests.sh --check
part "schemas of Kubernetes' kinds" scripts/schemas.sh --check
part "values of the chart" scripts/chart.sh
part "demo" e2e/demo.sh "$bin/ferrolb"
part "steps of the parsers" make --no-print-directory steps
part "fuzz targets" scripts/fuzz.sh "${FUZZ_SECONDS:-20}"
part "scenarios" "$bin/e2e" run

printf '\nThe slowest parts:\n'
sort -rn "$times" | head -n 10
if [ ${#failed[@]} -gt 0 ]; then
  printf '\nFAILED: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nAll parts passed.\n'
