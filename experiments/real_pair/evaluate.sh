#!/usr/bin/env bash
# Asks the real pairs everything on a GPU and keeps the run folders:
#
#   experiments/real_pair/evaluate.sh OUT [PAIR ...]
#
# QC2C_MODELS and QC2C_QUESTIONS name the folders that `qc2c fetch` filled; PAIR is as in `qc2c real
# --help` (default: all). `qc2c` must be on the PATH (./run build, or bundle/run-on on another machine). Also
# writes OUT/PAIR.gpu: memory and load of the GPU once a second.
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 OUT [PAIR ...]" >&2
  exit 64
fi
out=$1
shift
pairs=("$@")
((${#pairs[@]})) || pairs=(qwen smollm2 fact prefix swapped gemma zero_cache)
mkdir -p "$out"
status=0
for pair in "${pairs[@]}"; do
  nvidia-smi --query-gpu=timestamp,name,memory.used,utilization.gpu --format=csv -l 1 >"$out/$pair.gpu" &
  watch=$!
  qc2c real --pair "$pair" --device cuda --dtype bf16 --out "$out/$pair" || status=$?
  kill "$watch"
done
exit "$status"
