#!/bin/sh
# The first paper's comparison and what goes past it, on synthetic stays: baselines, single-label and two-label decoder,
# each improvement over the single-label one, three sizes, four input lengths, every row with several seeds, scored on
# stays that none has seen. What is done is skipped, and a run that was stopped goes on, so the command is simply given
# again. Usage: ablation.sh PROGRAM
#
#   ABLATION_OUT      folder of data, runs and tables [build/ablation]
#   ABLATION_STAYS    stays to train on [50000]
#   ABLATION_TEST     stays that are scored [5000]
#   ABLATION_SEEDS    ["1 2 3"]
#   ABLATION_ROWS     which rows [all]
#   ABLATION_CLAIMS   claims to render as notes instead of stays that are drawn (casemix synth --claims), with their own
#                     ABLATION_OUT; the last ABLATION_TEST patients' are scored
#   ABLATION_TRAIN    more arguments of every `casemix train`, as "--threads 1"
#
# A short pass through everything, in minutes:
#   make ablation ABLATION_OUT=build/ablation-short ABLATION_STAYS=400 ABLATION_TEST=100 ABLATION_SEEDS=1
set -eu
cd "$(dirname "$0")/.."
case $1 in /*) program=$1 ;; *) program=./$1 ;; esac
out=${ABLATION_OUT:-build/ablation}
stays=${ABLATION_STAYS:-50000}
test=${ABLATION_TEST:-5000}
seeds=${ABLATION_SEEDS:-1 2 3}
claims=${ABLATION_CLAIMS:-}
extra=${ABLATION_TRAIN:-}
rows=${ABLATION_ROWS:-linear caml bert single-label two-label both-views product head-tail class-balanced logit-adjusted \
length-64 length-256 length-512 size-small size-large}
tokenizer=models/tiny-classifier
mkdir -p "$out/runs" "$out/scores" "$out/trained"

# Numbers that data and runs depend on must stay what they were: half of the results would tell of something else.
settings="stays $stays test $test claims $claims"
if [ -e "$out/settings" ] && [ "$(cat "$out/settings")" != "$settings" ]; then
    echo "ablation: $out was begun with: $(cat "$out/settings")" >&2
    echo "ablation: now it would be:     $settings" >&2
    echo "ablation: name another ABLATION_OUT, or remove that folder" >&2
    exit 1
fi
echo "$settings" >"$out/settings"

# A cohort to learn from, and two of other patients: one to choose the epoch on, one to score on.
make_data() {
    [ ! -e "$out/data-is-made" ] || return 0
    if [ -n "$claims" ]; then
        "$program" synth --claims "$claims" --seed 51 --words 100 --split 92/2/6 --out "$out/cohort" --force
    else
        "$program" synth --stays "$stays" --seed 41 --words 100 --temper 0.6 --split 100/0/0 --out "$out/cohort" --force
        "$program" synth --stays 1000 --seed 42 --words 100 --temper 0.6 --split 0/100/0 --out "$out/dev" --force
        "$program" synth --stays "$test" --seed 43 --words 100 --temper 0.6 --split 0/0/100 --out "$out/unseen" --force
        cp "$out/dev/dev.jsonl" "$out/unseen/test.jsonl" "$out/cohort/"
    fi
    : >"$out/data-is-made"
}

# Of a row: its recipe and what it sets over it. Rows that train nothing of their own are scored from another's runs.
recipe_of() {
    decoder=recipes/ablation/decoder.yaml
    case $1 in
    linear) echo recipes/linear.yaml ;;
    caml) echo recipes/drg-llama/caml.yaml train.epochs=10 train.learning_rate=1e-3 train.schedule=linear train.patience=3 ;;
    bert) echo recipes/bert-small.yaml bert.layers=4 bert.width=128 bert.heads=4 bert.ffn_width=352 train.epochs=4 \
        train.max_tokens=128 train.batch_size=64 train.micro_batch_tokens=8192 train.learning_rate=1e-3 train.eval_every=780 ;;
    single-label) echo $decoder ;;
    two-label) echo $decoder method=two_label objective.cc_weight=0.5 ;;
    both-views | product) ;;
    head-tail) echo $decoder train.truncate=head_tail train.head_share=0.5 ;;
    class-balanced) echo $decoder objective.loss=class_balanced objective.beta=0.999 ;;
    logit-adjusted) echo $decoder objective.loss=logit_adjusted objective.tau=1.0 ;;
    length-*) echo $decoder "train.max_tokens=${1#length-}" ;;
    size-small) echo $decoder model.layers=2 model.width=64 model.heads=2 model.kv_heads=1 model.ffn_width=176 ;;
    size-large) echo $decoder model.layers=6 model.width=256 model.heads=4 model.kv_heads=2 model.head_size=64 \
        model.ffn_width=704 train.learning_rate=1e-3 ;;
    *) echo "ablation: there is no row \"$1\"" >&2 && return 1 ;;
    esac
}

# train ROW SEED
train() {
    name=$1-$2
    [ ! -e "$out/trained/$name" ] || return 0
    arguments=
    for word in $(recipe_of "$1"); do
        case $word in recipes/*) recipe=$word ;; *) arguments="$arguments --set $word" ;; esac
    done
    case $1 in linear | caml) ;; *) arguments="$arguments --tokenizer $tokenizer" ;; esac
    [ ! -d "$out/runs/$name" ] || arguments="$arguments --resume"
    echo "ablation: $name" >&2
    # shellcheck disable=SC2086
    "$program" train "$recipe" --data "$out/cohort" --out "$out/runs/$name" --set "seed=$2" $arguments $extra
    : >"$out/trained/$name"
}

# score ROW SEED
score() {
    name=$1-$2
    [ ! -e "$out/scores/$name/evaluation.json" ] || return 0
    case $1 in
    both-views) set -- --model "$out/runs/single-label-$2" --model "$out/runs/two-label-$2" ;;
    product) set -- --model "$out/runs/single-label-$2" --decode product ;;
    *) set -- --model "$out/runs/$name" ;;
    esac
    "$program" eval "$@" --data "$out/cohort/test.jsonl" --out "$out/scores/$name" >"$out/scores/$name.txt"
}

# Figures of one evaluation: acc@1 and its interval, acc@5, macro-F1, accuracy of base and of severity, error of the
# case-mix index.
figures() {
    awk 'function number(text, key,    at) {
        at = index(text, "\"" key "\": ")
        return substr(text, at + length(key) + 4) + 0
    }
    function within(text, key) { return substr(text, index(text, "\"" key "\": ")) }
    { all = all $0 " " }
    END {
        interval = within(within(all, "intervals"), "acc1")
        low = substr(interval, index(interval, "[") + 1) + 0
        high = substr(interval, index(interval, ", ") + 2) + 0
        printf "%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.2f\t%.2f\t%.2f\n", 100 * number(all, "acc1"), 100 * low, 100 * high,
            100 * number(all, "acc5"), number(all, "f1_macro"), 100 * number(within(all, "base_acc1"), "value"),
            100 * number(within(all, "severity_acc1"), "value"), 100 * number(within(all, "cmi_bias"), "value")
    }' "$out/scores/$1/evaluation.json"
}

# ablation.tsv has a line a run; ablation.md the mean and standard deviation of each row over its seeds.
tables() {
    {
        printf 'row\tseed\tacc@1\tfrom\tto\tacc@5\tmacro-F1\tbase\tseverity\tCMI error\n'
        for row in $rows; do
            for seed in $seeds; do
                [ ! -e "$out/scores/$row-$seed/evaluation.json" ] || printf '%s\t%s\t%s\n' "$row" "$seed" "$(figures "$row-$seed")"
            done
        done
    } >"$out/ablation.tsv"
    awk -F '\t' 'NR == 1 { next }
    !($1 in runs) { order[++count] = $1 }
    {
        runs[$1]++
        for (i = 3; i <= NF; i++) { sum[$1, i] += $i; square[$1, i] += $i ^ 2 }
    }
    function mean(row, i) { return sum[row, i] / runs[row] }
    function deviation(row, i,    v) {
        if (runs[row] < 2) return ""
        v = (square[row, i] - sum[row, i] ^ 2 / runs[row]) / (runs[row] - 1)
        return sprintf(" ± %.1f", sqrt(v > 0 ? v : 0))
    }
    END {
        print "| row | seeds | acc@1, % | 95 % of one run | acc@5, % | macro-F1 | base, % | severity, % | CMI error, % |"
        print "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        for (r = 1; r <= count; r++) {
            row = order[r]
            printf "| %s | %d | %.1f%s | %.1f to %.1f | %.1f | %.3f | %.1f | %.1f | %+.1f |\n", row, runs[row], mean(row, 3),
                deviation(row, 3), mean(row, 4), mean(row, 5), mean(row, 6), mean(row, 7), mean(row, 8), mean(row, 9), mean(row, 10)
        }
    }' "$out/ablation.tsv" >"$out/ablation.md"
}

for row in $rows; do recipe_of "$row" >/dev/null; done
make_data
# All rows with one seed before the next seed: a table of everything stands early.
for seed in $seeds; do
    for row in $rows; do
        case $row in
        both-views) train single-label "$seed" && train two-label "$seed" ;;
        product) train single-label "$seed" ;;
        *) train "$row" "$seed" ;;
        esac
        score "$row" "$seed"
        tables
    done
done
tables
cat "$out/ablation.md"
echo "tables: $out/ablation.tsv, $out/ablation.md"
