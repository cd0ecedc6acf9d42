#!/usr/bin/env bash
# Comments cite sections of docs/contract ("contract 4.2", "contract 2.4 to 2.6", "contract C.5, C.10") and rules of docs/design/rules.md
# ("docs/design/rules.md, rule 6", "rule 6 of the design"). Each must be there, once.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A place
failed=0
fail() { # fail FILE LINE TEXT
  echo "$1:$2: $3" >&2
  failed=1
}

while IFS=: read -r file line section; do
  [ -z "${place[$section]:-}" ] || fail "$file" "$line" "\"$section\" is a section at ${place[$section]} already"
  place[$section]=$file:$line
done < <(grep -noP '^#+ \K(\d+(\.\d+)?|C(\.\d+)?|Rule \d+)(?= )' docs/contract/*.md docs/design/*.md)
[ ${#place[@]} -gt 0 ] || { echo "docs/contract and docs/design have no sections" >&2; exit 1; }

cited() { # cited PATTERN: each citation in tracked files, as FILE:LINE:TEXT
  git ls-files -z | xargs -0 grep -HnoIP "$1" 2>/dev/null || true
}
number='(\d+(\.\d+)?|C\.\d+)(?![\w.]*\d)'
seen=0
while IFS=: read -r file line text; do
  case $text in *ule*) kind="Rule " ;; *) kind="" ;; esac
  for section in $(grep -oP '(?<![\w.])(\d+(\.\d+)?|C(\.\d+)?)(?!\w)' <<<"${text/rules.md/}"); do
    seen=$((seen + 1))
    [ -n "${place[$kind$section]:-}" ] || fail "$file" "$line" "\"$text\": there is no section \"$kind$section\" in docs/contract or docs/design"
  done
done < <(
  cited "(?i:contract),?( section)? ($number|C\b)((,| to|,? and) $number)*"
  cited "(?i:docs/design/rules\.md, rules?) \d+((,| to|,? and) \d+)*"
  cited "(?i:\brules?) \d+((,| to|,? and) \d+)* of the design"
)
[ "$seen" -gt 0 ] || { echo "no citation was found: is the pattern right?" >&2; exit 1; }
exit "$failed"
