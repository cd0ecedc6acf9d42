#!/usr/bin/env bash
# Runs a command and says what it is and how long it took: scripts/timed.sh WHAT COMMAND...
set -euo pipefail
what=$1
shift
begin=$(date +%s)
echo "$what ..."
"$@"
echo "$what: $(($(date +%s) - begin)) s"
