#!/usr/bin/env bash
# Instructions that each octet of an input costs in each parser, by callgrind: scripts/steps.sh PROGRAM, which is cli/examples/steps.rs.
# They follow from the difference of two lengths, over many inputs. Fails where that is above the parser's bound: work that
# grows faster than the input, or much of it for each octet. A parser's body does more than the programs do: it reads an input in
# several ways, writes what it read and reads that again.
set -euo pipefail
program=$1
# Some four times of what was measured.
declare -A bounds=(
  [arp]=150
  [ndp]=160
  [bfd]=730
  [bgp_open]=150
  [bgp_update]=320
  [bgp_notification]=150
  [bgp_route_refresh]=150
  [bgp_session]=360
  [members_heartbeat]=1430
  [members_packet]=780
  [members_stream]=150
  [speaker_notices]=200
  [manifest]=610
  [review]=390
  [conversion]=380
)
short=1024 long=3072
instructions() { # instructions PARSER LENGTH
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 | sed -n 's/.*Collected : *//p'
}
failed=0
while read -r parser inputs; do
  few=$(instructions "$parser" $short)
  many=$(instructions "$parser" $long)
  each=$(((many - few) / (inputs * (long - short))))
  printf '%-20s %6d instructions an octet (at most %d)\n' "$parser" "$each" "${bounds[$parser]}"
  [ "$each" -le "${bounds[$parser]}" ] || { echo "$parser costs more than it may" >&2; failed=1; }
done < <("$program")
exit $failed
