#!/bin/sh
# Manual pages and shell completion from the program's own --help pages, so that they cannot say anything else.
# Usage: manual.sh PROGRAM OUT; fills OUT/man1 and OUT/completion. The date is that of SOURCE_DATE_EPOCH.
set -eu
here=$(dirname "$0")
program=$1
out=$2
export LC_ALL=C OMP_NUM_THREADS=1
version=$("$program" --version | cut -d ' ' -f 2)
date=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%d)
rm -rf "$out"
mkdir -p "$out/man1" "$out/completion"
"$program" --help >"$out/help"
sed -n 's/^  \([a-z]*\)  *\(.*\)/\1 \2/p' "$out/help" | grep -v '^casemix ' >"$out/commands"

# `predict` and `eval` have a second page for models that write, which they show where they are given one.
mkdir "$out/writer"
printf '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 8,
"num_attention_heads": 1, "num_hidden_layers": 1, "vocab_size": 8, "rms_norm_eps": 1e-5}\n' >"$out/writer/config.json"

see=
: >"$out/all"
while read -r command summary; do
    "$program" "$command" --help >"$out/help-$command"
    case $command in
    predict | eval) { echo; "$program" "$command" --model "$out/writer" --help; } >>"$out/help-$command" ;;
    esac
    see="$see casemix-$command"
    { echo "#command $command $summary"; cat "$out/help-$command"; } >>"$out/all"
    awk -v command="$command" -v summary="$summary" -v version="$version" -v date="$date" -v see=casemix \
        -f "$here/manual.awk" "$out/help-$command" >"$out/man1/casemix-$command.1"
done <"$out/commands"
awk -v command= -v summary="MS-DRGs of discharge summaries, and the training of models that give them" \
    -v version="$version" -v date="$date" -v see="$see" -f "$here/manual.awk" "$out/help" >"$out/man1/casemix.1"

models=$(cd "$here/../models" && printf '%s ' */ | tr -d /)
awk -v shell=bash -v models="${models% }" -f "$here/completion.awk" "$out/all" >"$out/completion/casemix"
awk -v shell=zsh -v models="${models% }" -f "$here/completion.awk" "$out/all" >"$out/completion/_casemix"
awk -v shell=fish -v models="${models% }" -f "$here/completion.awk" "$out/all" >"$out/completion/casemix.fish"
rm -r "$out/writer" "$out"/help* "$out/all" "$out/commands"
