#!/bin/sh
# The tests of the page: starts `casemix serve` on free ports (one open, one with keys), makes 200 synthetic notes, and
# lets Playwright drive Debian's Chromium. Skips with a notice where Chromium, Node.js 20 or npm's packages are not to be
# had: a change must not fail because a registry does not answer. Arguments go to Playwright: test/run.sh note -g
# evidence. Pictures are in $CASEMIX_TEST_OUT.
set -eu
cd "$(dirname "$0")/../../.."
root=$PWD
program=$root/${B:-build}/casemix
skip() {
    echo "skipped: the tests of the page: $1"
    exit 0
}
export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"
[ -x "$CHROMIUM" ] || skip "there is no $CHROMIUM (apt-get install chromium)"
command -v npm >/dev/null || skip "there is no npm"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' || skip "Node.js is older than 20"
cd web/app
[ -d node_modules ] || npm ci --no-audit --no-fund --silent || skip "npm ci failed"

folder=$(mktemp -d)
servers=
finish() {
    for server in $servers; do kill "$server" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

"$program" synth --stays 300 --seed 7 --out "$folder/cohort" >"$folder/synth.log" 2>&1 || { cat "$folder/synth.log" >&2; exit 1; }
node test/batch_file.mjs "$folder/cohort" "$folder/notes.jsonl"
export CASEMIX_BATCH="$folder/notes.jsonl"

free_port() {
    node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}
serve() { # name, options…: sets `url`
    name=$1
    shift
    port=$(free_port)
    url=http://127.0.0.1:$port
    (cd "$root" && exec "$program" serve --model models/tiny-classifier --port "$port" --store "$folder/$name.sqlite" "$@") \
        >"$folder/$name.log" 2>&1 &
    servers="$servers $!"
    tries=0
    until curl -fs "$url/health" >/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 $! 2>/dev/null; then
            echo "casemix serve does not answer:" >&2
            cat "$folder/$name.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}
serve open
export CASEMIX_URL="$url"
for rater in one two; do
    "$program" key new review "rater-$rater" --keys "$folder/keys" >"$folder/key-$rater"
done
"$program" key new code coder --keys "$folder/keys" >"$folder/key-coder"
serve keys --keys "$folder/keys"
export CASEMIX_KEYS_URL="$url" CASEMIX_KEYS="$folder"

export CASEMIX_TEST_OUT="${CASEMIX_TEST_OUT:-$root/${B:-build}/page}"
npx playwright test "$@"
