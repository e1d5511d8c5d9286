#!/usr/bin/env bash
# What the step of ../action.yml runs: its inputs are MODELS, FILE, GPU, ENGINE, CONTEXT and ARGS. Writes the outputs
# `verdict` and `json`, and the job's summary; exits as llm-inspect does.
set -uo pipefail

lines() { # each line of a text that is not empty, its spaces trimmed, ended by a null
  while IFS= read -r line || [ -n "$line" ]; do
    line=$(sed -E 's/^[[:space:]]+//; s/[[:space:]]+$//' <<< "$line")
    if [ -n "$line" ]; then printf '%s\0' "$line"; fi
  done <<< "$1"
}

options=()
while IFS= read -r -d '' gpu; do options+=(--gpu "$gpu"); done < <(lines "$GPU")
if [ -n "$ENGINE" ]; then options+=(--engine "$ENGINE"); fi
if [ -n "$CONTEXT" ]; then options+=(--context "$CONTEXT"); fi
while IFS= read -r -d '' each; do options+=("$each"); done < <(
  python3 -c 'import shlex, sys; [sys.stdout.write(each + "\0") for each in shlex.split(sys.argv[1])]' "$ARGS"
)
names=()
while IFS= read -r -d '' model; do names+=("$model"); done < <(lines "$MODELS")

json=$(mktemp) && table=$(mktemp) && errors=$(mktemp)
good="read"
if [ -n "$GPU" ]; then good=fits; fi
bad="does not fit"
if [ -n "$FILE" ] && [ ${#names[@]} -gt 0 ]; then
  echo "::error::models or file: not both" && exit 2
elif [[ "$FILE" =~ \.lock\.ya?ml$ ]]; then
  good="as expected" bad=changed
  llm-inspect verify "${options[@]}" --json -- "$FILE" > "$json" 2> "$errors"
  code=$?
  { echo '```'; llm-inspect verify --quiet "${options[@]}" -- "$FILE"; echo '```'; } > "$table"
elif [ -n "$FILE" ]; then
  llm-inspect batch "${options[@]}" --ordered --json -- "$FILE" > "$json" 2> "$errors"
  code=$?
  llm-inspect batch --quiet "${options[@]}" --ordered --format markdown -- "$FILE" > "$table" 2> /dev/null
elif [ ${#names[@]} -gt 0 ]; then
  if [ -n "$GPU" ]; then options+=(--check); fi
  llm-inspect show "${options[@]}" --json -- "${names[@]}" > "$json" 2> "$errors"
  code=$?
  llm-inspect show --quiet "${options[@]}" --format markdown -- "${names[@]}" > "$table" 2> /dev/null
else
  echo "::error::name models, or a file" && exit 2
fi

case $code in
  0) verdict=$good ;;
  1) verdict=$bad ;;
  4) verdict="cannot tell" ;;
  *) verdict=failed ;;
esac
cat "$errors" >&2
if [ "$verdict" = failed ]; then { echo '```'; cat "$errors"; echo '```'; } > "$table"; fi
mark="END_$(python3 -c 'import secrets; print(secrets.token_hex(16))')"
{
  echo "verdict=$verdict"
  echo "json<<$mark"
  # One object, an array, or a line each: an array in one line.
  python3 - "$json" << 'END'
import json, sys

text = open(sys.argv[1], encoding="utf-8").read()
try:
    found = json.loads(text or "[]")
except ValueError:
    found = [json.loads(line) for line in text.splitlines()]
print(json.dumps(found if isinstance(found, list) else [found]))
END
  echo "$mark"
} >> "$GITHUB_OUTPUT"
{
  echo "### llm-inspect: $verdict"
  echo
  cat "$table"
  echo
} >> "$GITHUB_STEP_SUMMARY"
cat "$table"
if [ "$code" -ne 0 ]; then echo "::error title=llm-inspect::$verdict (exit code $code)"; fi
exit "$code"
