#!/usr/bin/env bash
# Cuts folder/schemas/kubernetes.json anew out of the OpenAPI documents of the Kubernetes that the tests run; with --check it only
# says whether the file is the one that belongs to that version.
set -euo pipefail
cd "$(dirname "$0")/.."

folder() {
  (cd e2e/cluster && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
}
[ -n "$(folder)" ] || (cd e2e/cluster && go mod download k8s.io/kubernetes)
documents=$(folder)/api/openapi-spec/v3
cut=$(mktemp)
trap 'rm -f "$cut"' EXIT
cargo run -q -p folder --example schemas -- "$documents" >"$cut"
if [ "${1:-}" = --check ]; then
  cmp -s "$cut" folder/schemas/kubernetes.json || {
    echo "folder/schemas/kubernetes.json is not what belongs to the Kubernetes of e2e/cluster/go.mod: make schemas" >&2
    exit 1
  }
else
  cp "$cut" folder/schemas/kubernetes.json
fi
