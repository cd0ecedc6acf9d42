#!/usr/bin/env bash
# Builds MetalLB's own controller and speaker from its Go modules once per state of the sources, into the user's cache, and prints the
# folder: the file systems of its two images in controller/ and speaker/, the manifest that MetalLB ships with them, and its chart in
# chart/, with that of frr-k8s in it.
set -euo pipefail

cd "$(dirname "$0")"
hash=$(cat build.sh go.mod go.sum | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrolb
folder=$cache/metallb-$hash
if [ -d "$folder" ]; then
  echo "$folder"
  exit 0
fi
version=$(go env GOVERSION 2>/dev/null || true)
if [[ ! $version =~ ^go1\.([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 25 ]; then
  echo "The tests with MetalLB's own programs need Go 1.25 or later (found: ${version:-none}): https://go.dev/dl" >&2
  exit 1
fi
module=go.universe.tf/metallb
mkdir -p "$cache"
partial=$(mktemp -d "$cache/.metallb-XXXXXX")
trap 'rm -rf "$partial"' EXIT
chmod 755 "$partial"
for name in controller speaker; do
  mkdir "$partial/$name"
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$partial/$name/$name" "$module/$name"
done
sources=$(go list -m -f '{{.Dir}}' "$module")
install -m 644 "$sources/config/manifests/metallb-native.yaml" "$partial/"
cp -r --no-preserve=mode "$sources/charts/metallb" "$partial/chart"
# Another build may have been faster.
mv -T "$partial" "$folder" 2>/dev/null || [ -d "$folder" ]
echo "$folder"
