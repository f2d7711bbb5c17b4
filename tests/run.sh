#!/bin/sh
# Runs the test programs named on the command line, JOBS at a time (as many as there are processors), and prints their
# totals on a closing line "N passed, N failed, N skipped". Exit status 1 when anything failed. B is the build folder.
set -u
export B="${B:-build}"
[ "${PORTABLE:-0}" = 1 ] && export ONEDNN_MAX_CPU_ISA=SSE41
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$(pwd)/$B/cache}"
# Threads that wait by spinning make tests of a few thousand weights a hundred times slower on a machine with other work.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=tests/leaks.txt:print_suppressions=0}"
jobs=${JOBS:-$(nproc)}
# A name when its program starts; what it printed and how it ended are beside it.
printf '%s\n' "$@" | xargs -n 1 -P "$jobs" sh -c 'echo "-- ${1##*/}"; "$1" >"$1.log" 2>&1; echo $? >"$1.status"' sh
passed=0
failed=0
skipped=0
for program in "$@"; do
    log="$program.log"
    status=$(cat "$program.status")
    rm -f "$program.status"
    ok=$(grep -c '^\[       OK \]' "$log")
    skip=$(grep -c '^\[  SKIPPED \] [a-z]' "$log")
    bad=$(grep -c '^\[  FAILED  \] [a-z]' "$log")
    bad=$((bad / 2 + bad % 2))
    grep '^skipped: ' "$log"
    if [ "${status:-1}" -ne 0 ]; then
        [ $bad -gt 0 ] || bad=1
        printf '%s\n' "-- $(basename "$program") failed:"
        cat "$log"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
