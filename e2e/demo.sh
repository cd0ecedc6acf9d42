#!/usr/bin/env bash
# The main job on one node, without Kubernetes: a small rack of network namespaces, `ferrolb run` on the folder
# examples/demo, and a client that asks for the addresses. Everything is removed at the end.
#
# usage: e2e/demo.sh PATH_TO_FERROLB
set -euo pipefail

ferrolb=$(realpath "${1:?usage: e2e/demo.sh PATH_TO_FERROLB}")
here=$(cd "$(dirname "$0")/.." && pwd)
id=flb$$
node=$id-node
client=$id-client
work=$(mktemp -d)
pids=()

bold=$(tput bold 2>/dev/null || true)
plain=$(tput sgr0 2>/dev/null || true)
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '  $ %s\n' "$*"; }

cleanup() {
  status=$?
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  ip netns delete "$node" 2>/dev/null || true
  ip netns delete "$client" 2>/dev/null || true
  rm -rf "$work"
  if [ "$status" -ne 0 ]; then
    printf '\nThe demo failed (exit code %s).\n' "$status"
  fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Tries a command until it succeeds, for ten seconds at most.
eventually() {
  for _ in $(seq 100); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  printf 'did not happen within 10 s: %s\n' "$*" >&2
  [ -f "$work/log" ] && cat "$work/log" >&2
  return 1
}
in_node() { ip netns exec "$node" "$@"; }
in_client() { ip netns exec "$client" "$@"; }
address_of() {
  sed -n "/\"default\/$1\"/,/]/p" "$work/state/status.json" | grep -oE '"[0-9a-f:.]+[0-9a-f]"' | tr -d '"' | head -n1
}
has_address() { [ -n "$(address_of "$1")" ]; }
page() { in_client curl --silent --fail --max-time 2 "http://$1/"; }
# -c 1 -w 1: one answer, one second.
arp_answers() { in_client arping -c 1 -w 1 -I eth0 "$1"; }
arp_is_silent() { ! arp_answers "$1"; }

step "The rack"
cat <<'PICTURE'
      client                                node
  192.0.2.1, 2001:db8:1::1          192.0.2.2, 2001:db8:1::2
  curl, arping, ndisc6              web server on port 80, ferrolb run
        └───────────────── eth0 ─ eth0 ─────────────────┘
PICTURE
ip netns add "$node"
ip netns add "$client"
ip -n "$node" link add eth0 type veth peer name eth0 netns "$client"
for place in "$node" "$client"; do
  ip -n "$place" link set lo up
  ip -n "$place" link set eth0 up
done
ip -n "$client" address add 192.0.2.1/24 dev eth0
ip -n "$client" address add 2001:db8:1::1/64 dev eth0 nodad
ip -n "$node" address add 192.0.2.2/24 dev eth0
ip -n "$node" address add 2001:db8:1::2/64 dev eth0 nodad
# The kernel would answer ARP for the local routes as well; with this, only ferrolb does.
in_node sysctl --quiet --write net.ipv4.conf.all.arp_ignore=1
mac=$(in_node cat /sys/class/net/eth0/address)
mkdir "$work/www" "$work/state"
echo "Hello from the node behind the address" >"$work/www/index.html"
# The program itself, not a subshell around it: what is started is what is ended.
ip netns exec "$node" busybox httpd -f -p '[::]:80' -h "$work/www" &
pids+=($!)
cp -r "$here/examples/demo" "$work/manifests"

step "The folder: two pools, one L2Advertisement, two Services"
show "ferrolb check examples/demo"
"$ferrolb" check "$work/manifests" | sed 's/^/  /'
show "ferrolb plan examples/demo"
"$ferrolb" plan "$work/manifests" --node node --folder-state "$work/state" | sed 's/^/  /'

step "ferrolb run examples/demo --accept"
ip netns exec "$node" "$ferrolb" run "$work/manifests" --node node --folder-state "$work/state" --accept >"$work/log" 2>&1 &
pids+=($!)
eventually has_address web
eventually has_address web-v6
sed 's/^/  /' "$work/log"
v4=$(address_of web)
v6=$(address_of web-v6)

step "The client asks who has $v4 (the node's eth0 is $mac)"
eventually arp_answers "$v4"
show "arping -c 2 $v4"
in_client arping -c 2 -w 3 -I eth0 "$v4" | sed 's/^/  /'

step "... and who has $v6"
eventually in_client ndisc6 -1 -r 1 "$v6" eth0
show "ndisc6 $v6 eth0"
in_client ndisc6 -1 "$v6" eth0 | sed 's/^/  /'

step "A page through each address"
eventually page "$v4"
show "curl http://$v4/"
page "$v4" | sed 's/^/  /'
eventually page "[$v6]"
show "curl http://[$v6]/"
page "[$v6]" | sed 's/^/  /'

step "An edit: the Service web asks for another address"
sed -i 's|^  name: web$|  name: web\n  annotations:\n    metallb.io/loadBalancerIPs: "192.0.2.210"|' "$work/manifests/web.yaml"
eventually page 192.0.2.210
show "curl http://192.0.2.210/"
page 192.0.2.210 | sed 's/^/  /'
eventually arp_is_silent "$v4"
echo "  $v4 is no longer answered"

step "Another edit: the Service web is removed"
rm "$work/manifests/web.yaml"
eventually arp_is_silent 192.0.2.210
echo "  192.0.2.210 is no longer answered"

step "Why is the other one as it is?"
show "ferrolb explain service web-v6 --folder examples/demo"
"$ferrolb" explain service web-v6 --folder "$work/manifests" --node node --folder-state "$work/state" | sed 's/^/  /'

step "Done; the rack is gone. Next:"
cat <<'NEXT'
  make test                                   everything, on a real kube-apiserver with kube-proxy (needs Go)
  target/release/ferrolb check FILE...        check your own manifests for MetalLB
  target/release/ferrolb plan DIR             what they would give and announce
NEXT
