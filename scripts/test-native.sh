#!/usr/bin/env bash
# Builds test/native/*_test.cc with the whole native core under AddressSanitizer and
# UndefinedBehaviorSanitizer, runs them, and ends with `N passed, N failed`.
#   scripts/test-native.sh            all test programs
#   scripts/test-native.sh parse      only test/native/parse_test.cc (any number of names)
set -euo pipefail
cd "$(dirname "$0")/.."

# clang reports more and is what the fuzz targets need; g++ gives the same verdicts.
cxx=${CXX:-}
if [ -z "$cxx" ]; then
  if command -v clang++ >/dev/null; then cxx=clang++; else cxx=g++; fi
fi

make_tests() { make --silent --jobs=2 -f scripts/test-native.mk CXX="$cxx" "$@"; }

if [ $# -gt 0 ]; then
  programs=()
  for name in "$@"; do programs+=("build/native-test/${name%_test}_test"); done
else
  mapfile -t programs < <(make_tests list-tests | sed '/^$/d')
fi

passed=0
failed=0
if [ ${#programs[@]} -gt 0 ]; then
  if ! make_tests "${programs[@]}"; then
    echo "native tests: the build failed"
    echo "0 passed, 1 failed"
    exit 1
  fi
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
  for program in "${programs[@]}"; do
    echo "# ${program##*/}"
    status=0
    output=$("$program" 2>&1) || status=$?
    printf '%s\n' "$output"
    planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' <<<"$output" | head -n 1)
    good=$(grep -c '^ok ' <<<"$output" || true)
    bad=$(grep -c '^not ok ' <<<"$output" || true)
    # A test that was planned but never reported died with its program.
    missing=$(( ${planned:-1} - good - bad ))
    if [ "$missing" -gt 0 ]; then bad=$((bad + missing)); fi
    # A sanitizer may speak up after the last test (a leak): that is a failure of its own.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$status" -ne 0 ]; then echo "# ${program##*/} exited with status $status"; fi
    passed=$((passed + good))
    failed=$((failed + bad))
  done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
