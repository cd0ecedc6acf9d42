#!/usr/bin/env bash
# Builds the control plane (etcd, kube-apiserver, kube-controller-manager, kube-proxy in one binary) once per state of its
# sources, into the user's cache, and prints the path of the binary. The first build takes some minutes.
set -euo pipefail

cd "$(dirname "$0")"
hash=$(cat main.go go.mod go.sum | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrolb
binary=$cache/cluster-$hash
if [ -x "$binary" ]; then
  echo "$binary"
  exit 0
fi
version=$(go env GOVERSION 2>/dev/null || true)
if [[ ! $version =~ ^go1\.([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 25 ]; then
  echo "The e2e scenarios need Go 1.25 or later to build the control plane (found: ${version:-none}): https://go.dev/dl" >&2
  exit 1
fi
kubernetes=$(sed -n 's|^\s*k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' go.mod)
echo "Building the control plane of Kubernetes $kubernetes; this takes some minutes, once." >&2
mkdir -p "$cache"
partial=$(mktemp "$cache/.cluster-XXXXXX")
trap 'rm -f "$partial"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$partial" .
chmod 755 "$partial"
mv "$partial" "$binary"
echo "$binary"
