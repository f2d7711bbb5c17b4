#!/bin/sh
# For the rows "Staged SFT" and "Staged DPO" of DRG-Sapphire's table 1: of the stays that a run of GRPO with the dense reward
# met, those that were hard (no sample of theirs had any part right) become a folder to fine-tune on, with rationales
# by the run's own model, and a folder of pairs: that rationale with the right title, against what the model had answered.
# Usage: hard_stays.sh PROGRAM RUN STAYS OUT      STAYS: the folder that RUN was trained on; OUT and OUT-pairs are written
#
# Needs jq (sh scripts/packages.sh recipes/sapphire/packages.txt). What is written to OUT is kept: a second call goes on.
set -eu
if [ $# -ne 4 ]; then
    echo "usage: $0 PROGRAM RUN STAYS OUT" >&2
    exit 2
fi
program=$1 run=$2 stays=$3 out=$4
command -v jq >/dev/null || { echo "jq is missing: sh scripts/packages.sh recipes/sapphire/packages.txt" >&2 && exit 1; }
mkdir -p "$out" "$out-pairs"

# As grpo.remove has it: in every group of the stay all answers were paid the same, and that -0.5 or less.
jq -rs 'group_by(.note_id)[] | select(all(.[]; (.answers | unique | length == 1) and .answers[0] <= -0.5)) | .[0].note_id' \
    "$run/rollouts.jsonl" >"$out/hard.txt"
jq -c --rawfile hard "$out/hard.txt" \
    '($hard | split("\n") | map({(.): true}) | add // {}) as $is | select($is[.note_id])' "$stays/train.jsonl" >"$out/train.jsonl"
hard=$(wc -l <"$out/train.jsonl")
echo "$hard hard stays" >&2
[ "$hard" -gt 0 ] || { echo "$run: no stay was hard: there is nothing to fine-tune on" >&2 && exit 1; }
cp "$stays/labels.tsv" "$stays/dev.jsonl" "$out/"

"$program" rationales --data "$out/train.jsonl" --model "$run" --out "$out/own.jsonl"
cat "$out/own.jsonl" "$stays/rationales.jsonl" | awk '{ id = $0; sub(/.*"note_id": *"/, "", id); sub(/".*/, "", id) } !seen[id]++' \
    >"$out/rationales.jsonl"
"$program" eval --model "$run" --data "$out/train.jsonl" --samples 1 --temperature 1 --out "$out/answers" >"$out/answers.txt"

# The prompt that the run keeps, in the form of a conversation; where it uses no chat template, as plain text.
part() {
    awk -v wanted="[$1]" '/^\[(template|system|user)\]$/ { inside = $0 == wanted; next } inside' "$run/prompt.txt" |
        sed -e '/./,$!d' | awk '{ lines = lines blank $0; blank = "\n" } END { sub(/\n+$/, "", lines); printf "%s", lines }'
}
part user >"$out/user.txt"
part system >"$out/system.txt"
plain=false
[ "$(part template)" != none ] || plain=true
jq -cn --argjson plain "$plain" --rawfile user "$out/user.txt" --rawfile system "$out/system.txt" \
    --slurpfile stays "$out/train.jsonl" --slurpfile own "$out/own.jsonl" --slurpfile answers "$out/answers/samples.jsonl" '
    ($own | map({(.note_id): .}) | add) as $rationale | ($answers | map({(.note_id): .completions[0]}) | add) as $answer |
    $stays[] | .note_id as $id | .text as $note | select($rationale[$id] and ($answer[$id] // "") != "") |
    ($user | split("{note}") | join($note)) as $question |
    {prompt: (if $plain then $question
              else [{role: "system", content: $system}, {role: "user", content: $question}] |
                   map(select(.content != "")) end),
     chosen: "<think>\n\($rationale[$id].rationale)\n</think>\n<answer>\n\($rationale[$id].title)\n</answer>",
     rejected: $answer[$id]} | select(.chosen != .rejected)' >"$out/pairs.jsonl"
# One pair in twenty is for dev, and one at least.
awk 'NR % 20 == 1' "$out/pairs.jsonl" >"$out-pairs/dev.jsonl"
awk 'NR % 20 != 1' "$out/pairs.jsonl" >"$out-pairs/train.jsonl"
cp "$stays/labels.tsv" "$out-pairs/"
wc -l "$out/train.jsonl" "$out-pairs/train.jsonl" "$out-pairs/dev.jsonl"
