#!/usr/bin/env bash
# Everything that must hold before landing, from a bare checkout: setup, build, lint, generated
# files, native tests under the sanitizers, a short fuzz run, then all mocha groups.
# The last line is `N passed, N failed`; the exit status is not 0 when anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

# stage NAME COMMAND...: runs it, prints how long it took, returns its status.
stage() {
  local name=$1 from=$EPOCHREALTIME status=0
  shift
  echo "== $name"
  "$@" || status=$?
  awk -v name="$name" -v from="$from" -v to="$EPOCHREALTIME" -v status="$status" 'BEGIN {
    printf "== %s: %s in %.1f s\n", name, status == 0 ? "done" : "FAILED", to - from
  }'
  return "$status"
}

# A stage that is one check: it adds a failure, never a pass.
check() { stage "$@" || failed=$((failed + 1)); }

# A stage that counts by itself: its last line is `N passed, N failed`.
counted() {
  local name=$1 log=build/.stage-output line status=0
  shift
  stage "$name" "$@" > >(tee "$log") || status=$?
  wait "$!" # tee has written everything
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  if [[ "$line" =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    if [ "$status" -ne 0 ] && [ "${BASH_REMATCH[2]}" -eq 0 ]; then failed=$((failed + 1)); fi
  else
    echo "$name: ended without its counts"
    failed=$((failed + 1))
  fi
}

mkdir -p build
stage setup bash scripts/setup.sh test || {
  failed=1
  finish
}
check 'lint' npm run --silent lint
check 'generated files' node scripts/gen.mjs --check
counted 'native tests (sanitizers)' bash scripts/test-native.sh
counted 'fuzzing' node dist/scripts/fuzz.js --seconds 5
counted 'mocha' node scripts/run-mocha.mjs all
finish
