#!/bin/sh
# Codes the example notes with the shipped model. Usage: demo.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."
case $1 in /*) program=$1 ;; *) program=./$1 ;; esac
echo "Six invented notes (examples/notes), coded by models/tiny-classifier, which learned from synthetic notes only."
echo "A demonstration: not for billing, not for care."
echo
"$program" predict examples/notes/*.txt
echo
echo "Your own note:  build/casemix predict NOTE.txt        More:  build/casemix --help"
