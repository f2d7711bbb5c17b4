#!/bin/sh
# Lays out the folders that recipes/sapphire reads, from what `casemix prepare --protocol drg-llama --subset all` wrote
# and a file of rationales: train.jsonl, dev.jsonl, labels.tsv and rationales.jsonl in each, as links where nothing changes.
# Usage: sapphire_folders.sh PAPER RATIONALES OUT [DIFFERENTIAL_RATIONALES]
#
# PAPER has no dev.jsonl, as the paper has none: it chooses on its test set. Then dev.jsonl is test.jsonl, and this says so.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: $0 PAPER RATIONALES OUT [DIFFERENTIAL_RATIONALES]" >&2
    exit 2
fi
paper=$(cd "$1" && pwd)
rationales=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
mkdir -p "$3"
out=$(cd "$3" && pwd)
differential=
[ $# -lt 4 ] || differential=$(cd "$(dirname "$4")" && pwd)/$(basename "$4")
dev=$paper/dev.jsonl
if [ ! -e "$dev" ]; then
    dev=$paper/test.jsonl
    echo "$paper has no dev.jsonl: models are chosen on test.jsonl, as in the paper. No figure on it is unseen." >&2
fi
for needed in "$paper/labels.tsv" "$dev" "$rationales" ${differential:+"$differential"}; do
    [ -e "$needed" ] || { echo "$needed: not there" >&2 && exit 1; }
done

# folder NAME: with all but train.jsonl.
folder() {
    mkdir -p "$out/$1"
    ln -sf "$paper/labels.tsv" "$out/$1/labels.tsv"
    ln -sf "$dev" "$out/$1/dev.jsonl"
    ln -sf "${2:-$rationales}" "$out/$1/rationales.jsonl"
}

# part NAME SUBSET: a subset that prepare drew.
part() {
    [ -e "$paper/$2.jsonl" ] || { echo "$paper/$2.jsonl: not there; casemix prepare --subset all writes it" >&2 && exit 1; }
    folder "$1" "${3:-}"
    ln -sf "$paper/$2.jsonl" "$out/$1/train.jsonl"
}

part cold-start cold_start
[ -z "$differential" ] || part cold-start-differential cold_start "$differential"
part drg-small drg_small
for share in 50 75 90 95; do
    part "sft-$share" "sft_${share}_$((100 - share))"
    part "grpo-$share" "grpo_${share}_$((100 - share))"
done

# DRG-Small in two parts, for figure 5, and in thirds, for the staged rows: every n-th stay in the order of the DRGs, so
# that each part has its share of each DRG. The published code has no such parts; the paper does not say how it drew them.
by_drg() {
    sed 's/.*"drg": *\([0-9]*\).*/\1\t&/' "$paper/drg_small.jsonl" | sort -s -n -k 1,1 | cut -f 2-
}
for share in 25 50 75 100; do
    folder "drg-small-sft-$share"
    by_drg | awk -v share="$share" 'NR % 4 < share / 25' >"$out/drg-small-sft-$share/train.jsonl"
    [ "$share" -lt 100 ] || continue
    folder "drg-small-grpo-$share"
    by_drg | awk -v share="$share" 'NR % 4 >= share / 25' >"$out/drg-small-grpo-$share/train.jsonl"
done
for third in 1 2 3; do
    folder "drg-small-third-$third"
    by_drg | awk -v third="$third" 'NR % 3 == third - 1' >"$out/drg-small-third-$third/train.jsonl"
done
wc -l "$out"/*/train.jsonl
