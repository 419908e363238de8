#!/usr/bin/env bash
# Re-creates everything in data/embedded from one seed: world, three language models, two fusers.
#
#   ./run train-embedded [OUT [WORK]]
#
# OUT gets what is committed (default: data/embedded). WORK holds the training documents, checkpoints and
# loss logs (default: train-embedded in the build folder): a run that was stopped continues there.
# Environment: BUILD_DIR and QC2C_PYTHON as ./run sets them; DEVICE=cuda trains on a GPU.
set -euo pipefail

if (( $# > 2 )); then
  echo "usage: ./run train-embedded [OUT [WORK]]" >&2
  exit 64
fi
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
qc2c=$(realpath "$BUILD_DIR/bin/qc2c")
python=$QC2C_PYTHON
out=$(realpath -m "${1:-$source_dir/data/embedded}")
work=$(realpath -m "${2:-$BUILD_DIR/train-embedded}")
recipes=$source_dir/experiments/recipes
device=${DEVICE:-cpu}
receiver='receiver-qwen3'
mkdir -p "$out" "$work"

# The background trainer is started as a simple command, so that $! is the program itself and a stop
# leaves none behind.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

lm() {  # MODEL DOCUMENTS -> train
  train=("$qc2c" train lm --config "$recipes/train_$1.yaml" --model "$out/$1" --device "$device"
    --documents "$work/$2.jsonl" --check-documents "$work/$2_check.jsonl" --state "$work/$1")
}

fuser() {  # SHARER THREADS -> train
  local pair=$receiver+sharer-$1
  train=("$qc2c" train fuser --config "$recipes/train_fuser_$1.yaml" --receiver "$out/$receiver"
    --sharer "$out/sharer-$1" --fuser "$out/$pair" --device "$device" --threads "$2"
    --documents "$work/fuser.jsonl" --check-documents "$work/fuser_check.jsonl" --state "$work/$pair")
}

# Two processes of one thread each: two threads in one process are slower, and spin when the cores are
# busy. The receiver is the shortest, so the second sharer starts when it is done.
"$python" "$source_dir/experiments/embedded_pair/world.py" --out "$out" --documents "$work"
lm sharer-qwen2 sharer
"${train[@]}" &
first=$!
lm "$receiver" receiver
"${train[@]}"
lm sharer-llama sharer
"${train[@]}" &
second=$!
wait "$first"
fuser qwen2 1
"${train[@]}"
wait "$second"
fuser llama 2  # nothing else runs any more
"${train[@]}"

"$python" "$source_dir/experiments/embedded_pair/training_log.py" --out "$out" --work "$work" \
  --qc2c "$qc2c" --device "$device"
echo "weights, training.log and SHA256SUMS are in $out"
