#!/usr/bin/env bash
# Builds the judge of the crate members (a member by HashiCorp's memberlist, which can play MetalLB's speaker) once per state of its sources, into the user's
# cache, and prints the path of the binary.
set -euo pipefail

cd "$(dirname "$0")"
hash=$(cat *.go go.mod go.sum | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrolb
binary=$cache/ring-$hash
if [ -x "$binary" ]; then
  echo "$binary"
  exit 0
fi
version=$(go env GOVERSION 2>/dev/null || true)
if [[ ! $version =~ ^go1\.([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 25 ]; then
  echo "The tests with HashiCorp's memberlist need Go 1.25 or later (found: ${version:-none}): https://go.dev/dl" >&2
  exit 1
fi
mkdir -p "$cache"
partial=$(mktemp "$cache/.ring-XXXXXX")
trap 'rm -f "$partial"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$partial" .
chmod 755 "$partial"
mv "$partial" "$binary"
echo "$binary"
