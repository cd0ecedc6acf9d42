#!/usr/bin/env bash
# Builds helm and kustomize of the versions in go.mod once, into the user's cache, and prints the folder that they are in.
set -euo pipefail

cd "$(dirname "$0")"
hash=$(cat go.mod go.sum | sha256sum | cut -c1-16)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/ferrolb/tools-$hash
if [ ! -x "$folder/helm" ] || [ ! -x "$folder/kustomize" ]; then
  version=$(go env GOVERSION 2>/dev/null || true)
  if [[ ! $version =~ ^go1\.([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 25 ]; then
    echo "The tests of the chart need Go 1.25 or later to build helm (found: ${version:-none}): https://go.dev/dl" >&2
    exit 1
  fi
  mkdir -p "$folder"
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder" helm.sh/helm/v3/cmd/helm sigs.k8s.io/kustomize/kustomize/v5
fi
echo "$folder"
