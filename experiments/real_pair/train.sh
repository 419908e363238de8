#!/usr/bin/env bash
# Trains the fusers of the real pairs side by side on one GPU (about 6 minutes on an H100):
#
#   experiments/real_pair/train.sh MODELS DOCUMENTS OUT
#
# MODELS holds the model folders that `qc2c fetch` makes, DOCUMENTS the files that documents.sh writes,
# OUT gets a folder a fuser, ready to serve, and under state/ their loss logs. A run that was stopped
# continues there. `qc2c` must be on the PATH (./run build, or bundle/run-on on another machine).
set -euo pipefail

if (($# != 3)); then
  echo "usage: $0 MODELS DOCUMENTS OUT" >&2
  exit 64
fi
models=$1 documents=$2 out=$3
recipes=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../recipes" && pwd -P)
mkdir -p "$out/state"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

train() {  # NAME RECIPE DOCUMENTS RECEIVER SHARER [FLAGS]
  local name=$1 recipe=$2 pair=$3 receiver=$4 sharer=$5
  shift 5
  qc2c train fuser --config "$recipes/train_real_$recipe.yaml" --device cuda \
    --receiver "$models/$receiver" --sharer "$models/$sharer" --fuser "$out/$name" \
    --documents "$documents/$pair.jsonl" --check-documents "$documents/${pair}_check.jsonl" \
    --state "$out/state/$name" "$@" 2>"$out/state/$name.progress"
}

small=Qwen2.5-Coder-0.5B-Instruct large=Qwen2.5-Coder-1.5B-Instruct other=SmolLM2-135M-Instruct
train "$small+$large" qwen qwen "$small" "$large" &
jobs=($!)
train "$other+$large" smollm2 smollm2 "$other" "$large" &
jobs+=($!)
train "$other+$small" fact fact "$other" "$small" &
jobs+=($!)
# A sharer that knows no more than the receiver.
train "$other+$small-plain" smollm2 smollm2 "$other" "$small" &
jobs+=($!)
# The control: what a fuser of the same size learns that never sees a sharer.
train "$small+$large-zero-cache" qwen qwen "$small" "$large" --sharer-cache zero_cache &
jobs+=($!)
status=0
for job in "${jobs[@]}"; do wait "$job" || status=$?; done
exit "$status"
