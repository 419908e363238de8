#!/usr/bin/env bash
# Re-creates everything in data/embedded from one seed: world, three language models, two fusers.
#
#   train_embedded.sh QC2C PYTHON OUT [WORK]
#
# QC2C is the driver program, PYTHON has the tokenizers package, OUT gets what is committed. WORK holds
# the training documents, checkpoints and loss logs (default: train-embedded beside QC2C's folder): a run
# that was stopped continues there. DEVICE=cuda trains on a GPU.
set -euo pipefail

if (( $# < 3 || $# > 4 )); then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
qc2c=$(realpath "$1")
python=$2
out=$(realpath -m "$3")
work=$(realpath -m "${4:-$(dirname "$qc2c")/../train-embedded}")
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
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

train_fuser() {  # SHARER
  local pair=$receiver+sharer-$1
  "$qc2c" train fuser --config "$recipes/train_fuser_$1.yaml" --receiver "$out/$receiver" \
    --sharer "$out/sharer-$1" --fuser "$out/$pair" --device "$device" --threads 1 \
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
train_fuser qwen2
wait "$second"
train_fuser llama

"$python" "$source_dir/experiments/embedded_pair/training_log.py" --out "$out" --work "$work" \
  --qc2c "$qc2c" --device "$device"
echo "weights, training.log and SHA256SUMS are in $out"
