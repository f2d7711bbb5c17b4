#!/bin/sh
# DRG-Sapphire's scaling law in small: fine-tunes on growing numbers of synthetic stays, lets GRPO go on from each, and
# scores all on stays that none has seen; then, at one size, the ablations of the paper's table 1. What is done is
# skipped, and a run that was stopped goes on, so the command is simply given again. Usage: scaling.sh PROGRAM
#
#   SCALING_OUT       folder of data, runs and tables [build/scaling]
#   SCALING_SIZES     stays for fine-tuning ["1000 2000 4000 8000 16000 32000"]
#   SCALING_SEEDS     ["1 2 3"], of sizes up to…
#   SCALING_SEEDED    …this many stays [4000]; larger ones have the first seed
#   SCALING_RL        stays for GRPO, 16 an update [3200]
#   SCALING_TEST      stays that are scored, eight answers each [1000]
#   SCALING_ABLATION  size at which the ablations are run; 0: none [4000]
#   SCALING_ROWS      which of them [all]
#   SCALING_MODEL     where fine-tuning starts [models/tiny-classifier]
#   SCALING_TRAIN     more arguments of every `casemix train`, as "--threads 1"
#
# A short pass through everything, in minutes:
#   make scaling SCALING_OUT=build/scaling-short SCALING_SIZES="64 128" SCALING_SEEDS=1 SCALING_RL=16 SCALING_TEST=8 \
#       SCALING_ABLATION=64 SCALING_ROWS="dapo-loss remove-hard"
set -eu
cd "$(dirname "$0")/.."
case $1 in /*) program=$1 ;; *) program=./$1 ;; esac
out=${SCALING_OUT:-build/scaling}
sizes=${SCALING_SIZES:-1000 2000 4000 8000 16000 32000}
seeds=${SCALING_SEEDS:-1 2 3}
seeded=${SCALING_SEEDED:-4000}
rl=${SCALING_RL:-3200}
test=${SCALING_TEST:-1000}
ablation=${SCALING_ABLATION:-4000}
rows=${SCALING_ROWS:-dapo-loss dr-grpo-loss dr-grpo-advantage no-kl kl-decay strict-reward balanced-reward remove-easy remove-hard \
remove-both easy-to-hard neutral-resampling positive-resampling cot-first}
model=${SCALING_MODEL:-models/tiny-classifier}
extra=${SCALING_TRAIN:-}

largest=0
for size in $sizes $ablation; do [ "$size" -le "$largest" ] || largest=$size; done
mkdir -p "$out/runs" "$out/scores" "$out/trained"

# Numbers that data and runs depend on must stay what they were: half of the results would tell of something else.
settings="largest $largest rl $rl test $test model $model"
if [ -e "$out/settings" ] && [ "$(cat "$out/settings")" != "$settings" ]; then
    echo "scaling: $out was begun with: $(cat "$out/settings")" >&2
    echo "scaling: now it would be:     $settings" >&2
    echo "scaling: name another SCALING_OUT, or remove that folder" >&2
    exit 1
fi
echo "$settings" >"$out/settings"

# A cohort to learn from, and two of other patients: for the loss on dev, and to score on.
make_data() {
    [ ! -e "$out/data-is-made" ] || return 0
    "$program" synth --stays $((largest + rl)) --seed 31 --words 90 --temper 0.6 --split 100/0/0 --out "$out/cohort" --force
    "$program" synth --stays "$test" --seed 32 --words 90 --temper 0.6 --split 0/0/100 --out "$out/unseen" --force
    "$program" synth --stays 100 --seed 33 --words 90 --temper 0.6 --split 0/100/0 --out "$out/dev" --force
    rm -f "$out/rationales.jsonl" "$out/dev/rationales.jsonl"
    "$program" rationales --data "$out/cohort/train.jsonl" --codes "$out/cohort" --out "$out/rationales.jsonl"
    "$program" rationales --data "$out/dev/dev.jsonl" --codes "$out/dev" --out "$out/dev/rationales.jsonl"
    # The cohorts number their notes alike: those of dev get a letter in front.
    sed 's/"note_id": "/&d/' "$out/dev/rationales.jsonl" >>"$out/rationales.jsonl"
    sed 's/"note_id": "/&d/' "$out/dev/dev.jsonl" >"$out/dev.jsonl"
    ln -sf unseen/test.jsonl "$out/test.jsonl"
    : >"$out/data-is-made"
}

# folder NAME: train.jsonl from standard input, and what else training reads.
folder() {
    mkdir -p "$out/$1"
    cat >"$out/$1/train.jsonl"
    for file in cohort/labels.tsv dev.jsonl rationales.jsonl; do ln -sf "../$file" "$out/$1/"; done
}

# train NAME RECIPE DATA MODEL ARGUMENT…: unless it is done; one that was stopped goes on.
train() {
    name=$1 recipe=$2 data=$3 from=$4
    shift 4
    [ ! -e "$out/trained/$name" ] || return 0
    resume=
    [ ! -d "$out/runs/$name" ] || resume=--resume
    echo "scaling: $name" >&2
    # shellcheck disable=SC2086
    "$program" train "$recipe" --data "$out/$data" --model "$from" --out "$out/runs/$name" "$@" $extra $resume
    : >"$out/trained/$name"
}

score() {
    [ ! -e "$out/scores/$1/samples.json" ] || return 0
    "$program" eval --model "$out/runs/$1" --data "$out/test.jsonl" --samples 8 --max-tokens 224 --out "$out/scores/$1" \
        >"$out/scores/$1.txt"
}

# One line of a table: what it is, then Pass@1, Pass@8 and Maj@8 of the DRG, Pass@1 of base and severity, format rate.
line() {
    name=$1
    shift
    printf '%s\t' "$@"
    awk '{
        n = split("drg.pass1 drg.pass8 drg.maj8 base.pass1 severity.pass1 .format_rate", wanted, " ")
        for (i = 1; i <= n; i++) {
            split(wanted[i], key, ".")
            rest = key[1] == "" ? $0 : substr($0, index($0, "\"" key[1] "\": {"))
            rest = substr(rest, index(rest, "\"" key[2] "\": ") + length(key[2]) + 4)
            printf "%.2f%s", 100 * rest, i < n ? "\t" : "\n"
        }
    }' "$out/scores/$name/samples.json"
}

columns='Pass@1\tPass@8\tMaj@8\tbase\tseverity\tformat'

tables() {
    {
        printf "method\tstays\tseed\t$columns\n"
        for method in sft grpo; do
            for size in $sizes; do
                for seed in $seeds; do
                    [ ! -e "$out/scores/$method-$size-$seed/samples.json" ] ||
                        line "$method-$size-$seed" $method "$size" "$seed"
                done
            done
        done
    } >"$out/scaling.tsv"
    {
        printf "row\t$columns\n"
        for row in sft vanilla $rows; do
            name=ablation-$row
            case $row in sft) name=sft-$ablation-$first ;; vanilla) name=grpo-$ablation-$first ;; esac
            [ ! -e "$out/scores/$name/samples.json" ] || line "$name" "$row"
        done
    } >"$out/ablation.tsv"
    awk -v ablation="$ablation" -v stays="$test" -f scripts/scaling_page.awk "$out/scaling.tsv" "$out/ablation.tsv" >"$out/scaling.html"
}

# What a row of table 1 sets over recipes/scaling/grpo.yaml.
settings_of() {
    earlier="grpo.curriculum=$out/runs/grpo-$ablation-$first"
    resampling='grpo.resampling_tries=12 grpo.resampling_temperatures=[0.7,0.8,0.9,1.0]'
    case $1 in
    dapo-loss) echo grpo.loss=dapo ;;
    dr-grpo-loss) echo grpo.loss=dr_grpo ;;
    dr-grpo-advantage) echo grpo.advantage=none ;;
    no-kl) echo grpo.beta=0 ;;
    kl-decay) echo grpo.beta_schedule=cosine ;;
    strict-reward) echo reward.kind=strict ;;
    balanced-reward) echo reward.kind=balanced ;;
    remove-easy | remove-hard | remove-both) echo "$earlier" "grpo.remove=${1#remove-}" ;;
    easy-to-hard) echo "$earlier" grpo.order=easy_first ;;
    neutral-resampling | positive-resampling) echo "grpo.resampling=${1%-resampling}" "$resampling" ;;
    cot-first) echo reward.cot_first=0.5 reward.cot_first_tokens=50 ;;
    *) echo "scaling: there is no ablation \"$1\"" >&2 && return 1 ;;
    esac
}

first=${seeds%% *}
for row in $rows; do settings_of "$row" >/dev/null; done
make_data
tail -n "$rl" "$out/cohort/train.jsonl" | folder grpo
for size in $sizes; do
    head -n "$size" "$out/cohort/train.jsonl" | folder "sft-$size"
    for seed in $seeds; do
        [ "$size" -le "$seeded" ] || [ "$seed" = "$first" ] || continue
        train "sft-$size-$seed" recipes/scaling/sft.yaml "sft-$size" "$model" --set "seed=$seed"
        score "sft-$size-$seed"
        train "grpo-$size-$seed" recipes/scaling/grpo.yaml grpo "$out/runs/sft-$size-$seed" --set "seed=$seed"
        score "grpo-$size-$seed"
        tables
    done
done
if [ "$ablation" -gt 0 ]; then
    head -n "$ablation" "$out/cohort/train.jsonl" | folder "sft-$ablation"
    train "sft-$ablation-$first" recipes/scaling/sft.yaml "sft-$ablation" "$model" --set "seed=$first"
    score "sft-$ablation-$first"
    for row in vanilla $rows; do
        name=ablation-$row set=
        if [ "$row" = vanilla ]; then name=grpo-$ablation-$first; else
            for setting in $(settings_of "$row"); do set="$set --set $setting"; done
        fi
        # shellcheck disable=SC2086
        train "$name" recipes/scaling/grpo.yaml grpo "$out/runs/sft-$ablation-$first" --set "seed=$first" $set
        score "$name"
        tables
    done
fi
tables
cat "$out/scaling.tsv"
[ "$ablation" -eq 0 ] || cat "$out/ablation.tsv"
sed -n 's/<li>\(.*\)<\/li>/\1/p' "$out/scaling.html"
echo "tables and plot: $out/scaling.tsv, $out/ablation.tsv, $out/scaling.html"
