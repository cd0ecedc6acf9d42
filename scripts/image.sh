#!/usr/bin/env bash
# Builds the two images of static programs: scripts/image.sh PROGRAMS OUT [VERSION]
# PROGRAMS holds `controller` and `speaker`; OUT gets controller.tar and speaker.tar (OCI archives) and their file systems in
# controller/ and speaker/. For another architecture PROGRAMS holds programs of that one, and ARCH names it (arm64).
# The same programs give the same octets: every time in the archives is SOURCE_DATE_EPOCH (0).
set -euo pipefail
programs=$1 out=$2 version=${3:-$(sed -n 's/^version = "\(.*\)"/v\1/p' Cargo.toml | head -n 1)}
arch=${ARCH:-$(dpkg --print-architecture)}
epoch=${SOURCE_DATE_EPOCH:-0}
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
command -v buildah >/dev/null || { echo "missing: buildah (apt-get install buildah)" >&2; exit 1; }
mkdir -p "$out"
for name in controller speaker; do
  root=$out/$name
  rm -rf "$root" "$out/$name.tar"
  mkdir -p "$root"
  install -m 755 "$programs/$name" "$root/$name"
  # An interpreter would be missing in the image.
  if readelf -l "$root/$name" | grep -q INTERP; then
    echo "$programs/$name is linked dynamically; \`make bins\` builds it statically" >&2
    exit 1
  fi
  if [ "$name" = speaker ]; then
    # What Pods of MetalLB's FRR mode call: the same program under other names.
    for other in cp-tool frr-metrics frr-reloader frr-reloader.sh; do
      ln -s speaker "$root/$other"
    done
    # For a speaker that is not root: of these it is permitted what its container may have. Not made effective by the file (+e):
    # then it would not start where one of them is lacking.
    setcap cap_net_admin,cap_net_bind_service,cap_net_raw+p "$root/speaker"
  fi
  container=$(buildah from --arch "$arch" scratch)
  buildah add --quiet "$container" "$root" / >/dev/null
  buildah config --entrypoint "[\"/$name\"]" --arch "$arch" --os linux \
    --label org.opencontainers.image.title="ferrolb $name" \
    --label org.opencontainers.image.version="$version" \
    --label org.opencontainers.image.licenses=Apache-2.0 "$container"
  layout=$(mktemp -d)
  buildah commit --quiet --rm --timestamp "$epoch" --omit-history "$container" "oci:$layout:ferrolb/$name:$version" >/dev/null
  tar --create --file "$out/$name.tar" --directory "$layout" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX blobs index.json oci-layout
  rm -rf "$layout"
  printf '%-12s %5.1f MB\n' "$name" "$(stat -c %s "$out/$name.tar" | awk '{print $1 / 1e6}')"
done
