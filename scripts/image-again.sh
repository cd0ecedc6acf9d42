#!/usr/bin/env bash
# Packs the same programs once more and compares: scripts/image-again.sh PROGRAMS OUT, as scripts/image.sh made OUT.
set -euo pipefail
programs=$1 out=$2
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
"$(dirname "$0")/image.sh" "$programs" "$again" >/dev/null
for name in controller speaker; do
  cmp "$out/$name.tar" "$again/$name.tar" || { echo "$name.tar is not the same when it is packed again" >&2; exit 1; }
done
sha256sum "$out"/*.tar
