#!/bin/sh
# Runs a program as a container runtime would: in the root file system of an image, read-only, with the volumes given and
# the capabilities kept. To be called in a mount namespace of its own:
#   container.sh ROOT UID KEEP [SOURCE:TARGET ...] -- PROGRAM ARGUMENT...
# ROOT is the image's file system; it is left as it is. KEEP are capabilities, with commas, or `none`.
set -eu
image=$1 uid=$2 keep=$3
shift 3
mount --make-rprivate /
root=$(mktemp -d)
# Mount points are made in a layer of their own, as runtimes do.
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root/upper" "$root/work" "$root/merged"
mount -t overlay -o "lowerdir=$image,upperdir=$root/upper,workdir=$root/work" overlay "$root/merged"
merged=$root/merged
bind() {
  if [ -d "$1" ]; then mkdir -p "$merged$2"; else mkdir -p "$merged$(dirname "$2")"; : >"$merged$2"; fi
  mount --rbind "$1" "$merged$2"
}
bind /proc /proc
bind /sys /sys
bind /dev /dev
while [ "$1" != -- ]; do
  bind "${1%%:*}" "${1#*:}"
  shift
done
shift
mount -o remount,ro "$merged"
drop=$(capsh --print | sed -n 's/^Bounding set =//p' | tr , '\n' | grep -v -x -e "$(echo "$keep" | sed 's/,/\\|/g')" | paste -sd,)
program=$1
shift
# As runc: a user that is not root keeps the capabilities as permitted until the program is executed, which loses them unless
# its file permits them too.
if [ "$uid" = 0 ] || [ "$keep" = none ]; then
  set -- --uid="$uid" --shell="$program" -- "$@"
else
  set -- --keep=1 --uid="$uid" --caps="$keep=p" --shell="$program" -- "$@"
fi
exec capsh --chroot="$merged" --drop="$drop" --no-new-privs --gid="$uid" --groups="$uid" "$@"
