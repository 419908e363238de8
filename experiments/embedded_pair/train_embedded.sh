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
receiver=receiver-qwen3
fusers=(qwen2 llama)
mkdir -p "$out" "$work"

# The children of this shell: a stop must not leave one behind.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

train_lm() {  # MODEL DOCUMENTS
  "$qc2c" train lm --config "$recipes/train_$1.yaml" --model "$out/$1" --device "$device" \
    --documents "$work/$2.jsonl" --check-documents "$work/$2_check.jsonl" --state "$work/$1"
}

train_fuser() {  # SHARER THREADS
  local pair=$receiver+sharer-$1
  "$qc2c" train fuser --config "$recipes/train_fuser_$1.yaml" --receiver "$out/$receiver" \
    --sharer "$out/sharer-$1" --fuser "$out/$pair" --device "$device" --threads "$2" \
    --documents "$work/fuser.jsonl" --check-documents "$work/fuser_check.jsonl" --state "$work/$pair"
}

# Two processes of one thread each: two threads in one process are slower, and spin when the cores are
# busy. The receiver is the shortest, so the second sharer starts when it is done.
"$python" "$source_dir/experiments/embedded_pair/world.py" --out "$out" --documents "$work"
train_lm sharer-qwen2 sharer &
first=$!
train_lm "$receiver" receiver
train_lm sharer-llama sharer &
second=$!
wait "$first"
train_fuser qwen2 1
wait "$second"
train_fuser llama 2  # nothing else runs any more

"$python" "$source_dir/experiments/embedded_pair/training_log.py" --out "$out" --work "$work" \
  --qc2c "$qc2c" --device "$device"
echo "weights, training.log and SHA256SUMS are in $out"
