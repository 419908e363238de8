#!/usr/bin/env bash
# Trains the fusers of the real pairs side by side on one GPU (two at a time: about 4 minutes on an H100):
#
#   experiments/real_pair/train.sh MODELS DOCUMENTS OUT [NAME ...]
#
# MODELS holds the model folders that `qc2c fetch` makes, DOCUMENTS the files that documents.sh writes,
# OUT gets a folder a fuser, ready to serve, and under state/ their loss logs. NAME is qwen, smollm2 or fact
# (the fusers of data/pairs), or one of the null results: zero_cache (a fuser that never sees a sharer),
# swapped or gemma (sharers that know no more than the receiver); default: the first three. A run that was
# stopped continues there. `qc2c` must be on the PATH (./run build, or bundle/run-on on another machine).
set -euo pipefail

if (($# < 3)); then
  echo "usage: $0 MODELS DOCUMENTS OUT [NAME ...]" >&2
  exit 64
fi
models=$1 documents=$2 out=$3
shift 3
names=("$@")
((${#names[@]})) || names=(qwen smollm2 fact)
recipes=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../recipes" && pwd -P)
mkdir -p "$out/state"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

train() {  # FUSER RECIPE DOCUMENTS RECEIVER SHARER [FLAGS]
  local fuser=$1 recipe=$2 file=$3 receiver=$4 sharer=$5
  shift 5
  qc2c train fuser --config "$recipes/train_real_$recipe.yaml" --device cuda \
    --receiver "$models/$receiver" --sharer "$models/$sharer" --fuser "$out/$fuser" \
    --documents "$documents/$file.jsonl" --check-documents "$documents/${file}_check.jsonl" \
    --state "$out/state/$fuser" "$@" 2>"$out/state/$fuser.progress"
}

small=Qwen2.5-Coder-0.5B-Instruct large=Qwen2.5-Coder-1.5B-Instruct
other=SmolLM2-135M-Instruct gemma=gemma-3-270m
jobs=()
for name in "${names[@]}"; do
  case $name in
    qwen) train "$small+$large" qwen qwen "$small" "$large" & ;;
    smollm2) train "$other+$large" smollm2 smollm2 "$other" "$large" & ;;
    fact) train "$other+$small" fact fact "$other" "$small" & ;;
    zero_cache)
      train "$small+$large-zero-cache" qwen qwen "$small" "$large" --sharer-cache zero_cache &
      ;;
    swapped) train "$other+$small-plain" smollm2 smollm2 "$other" "$small" & ;;
    gemma) train "$other+$gemma" smollm2 gemma "$other" "$gemma" & ;;
    *)
      echo "$0: no fuser is called '$name': see the head of this file" >&2
      exit 64
      ;;
  esac
  jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do wait "$job" || status=$?; done
exit "$status"
