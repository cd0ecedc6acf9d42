#!/usr/bin/env bash
# Makes what follows from other files: the CRDs where kustomize and the chart read them, and the all-in-one manifests.
# With --check it only says what is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(e2e/helm/build.sh)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

cp -r manifests "$made/manifests"
rm -rf "$made/manifests/crds" "$made"/manifests/*.yaml
mkdir -p "$made/manifests/crds" "$made/charts/ferrolb/files/crds"
cp crds/generated/*.yaml "$made/manifests/crds/"
cp crds/generated/*.yaml "$made/charts/ferrolb/files/crds/"
{
  echo "apiVersion: kustomize.config.k8s.io/v1beta1"
  echo "kind: Kustomization"
  echo "resources:"
  (cd crds/generated && ls ./*.yaml) | sed 's|^\./|  - |'
} >"$made/manifests/crds/kustomization.yaml"
for overlay in native prometheus; do
  name=ferrolb$([ "$overlay" = native ] || echo "-$overlay")
  "$tools/kustomize" build "$made/manifests/$overlay" >"$made/manifests/$name.yaml"
done

stale=0
for path in manifests/crds charts/ferrolb/files/crds manifests/ferrolb.yaml manifests/ferrolb-prometheus.yaml; do
  diff -rq "$made/$path" "$path" >/dev/null 2>&1 && continue
  if [ "${1:-}" = --check ]; then
    echo "$path is out of date: run \`make manifests\`" >&2
    stale=1
  else
    rm -rf "$path"
    mkdir -p "$(dirname "$path")"
    cp -r "$made/$path" "$path"
    echo "$path"
  fi
done
exit $stale
