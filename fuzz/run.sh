#!/bin/sh
# Runs the fuzzers named on the command line, each for FUZZ_SECONDS, FUZZ_JOBS at a time, from the seeds of the
# repository and of the corpus that earlier runs left in $B/corpus. An input that fails stays in $B/findings; the command
# that runs it again is printed, and the exit status is 1.
set -u
B=${B:-build/fuzz}
seconds=${FUZZ_SECONDS:-600}
jobs=${FUZZ_JOBS:-1}
export OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=tests/leaks.txt:print_suppressions=0}"
mkdir -p "$B/findings" "$B/seeds/recipe" "$B/seeds/config" "$B/seeds/tsv" || exit 1
"$B/seeds_write" "$B/seeds" || exit 1
find recipes -name "*.yaml" | while read -r recipe; do cp "$recipe" "$B/seeds/recipe/$(echo "$recipe" | tr / -)"; done
cp tests/configs/*.json models/*/config.json "$B/seeds/config/"
head -n 40 data/ms-drg-v43.tsv >"$B/seeds/tsv/groups"

fuzz() {
    name=$1
    log="$B/$name.log"
    mkdir -p "$B/corpus/$name" "$B/seeds/$name"
    [ -d "fuzz/seeds/$name" ] && cp "fuzz/seeds/$name"/* "$B/seeds/$name/"
    "$B/fuzz_$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2560 -print_final_stats=1 \
        -dict="fuzz/dictionaries/$name.dict" -artifact_prefix="$B/findings/$name-" \
        "$B/corpus/$name" "$B/seeds/$name" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    if [ $status -eq 0 ]; then
        echo "$name: $runs executions, $covered edges covered, nothing found"
        return 0
    fi
    tail -n 60 "$log"
    echo "$name: FAILED after ${runs:-?} executions"
    found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    [ -z "$found" ] || echo "to see it again: $B/fuzz_$name $found"
    return 1
}

# One list of targets per job, so that a plain shell can run them side by side.
run_share() {
    share=$1
    shift
    failed=0
    i=0
    for program in "$@"; do
        [ $((i % jobs)) -eq "$share" ] && { fuzz "$(basename "$program" | sed 's/^fuzz_//')" || failed=1; }
        i=$((i + 1))
    done
    return $failed
}

pids=
for share in $(seq 0 $((jobs - 1))); do
    run_share "$share" "$@" &
    pids="$pids $!"
done
failed=0
for pid in $pids; do wait "$pid" || failed=1; done
exit $failed
