#!/usr/bin/env bash
# Asks the pair `qwen` over codecs that need daemons of their own, on a GPU, and keeps the run folders:
#
#   experiments/real_pair/codecs.sh OUT [RECIPE ...]
#
# RECIPE is real_codec, real_selections or real_codebook (default: all). The codebook is OUT/pair.codebook; where it is
# missing, real_codebook first makes it from the first $CALIBRATION_LIMIT (450) questions of $CALIBRATION (JSONL, of the
# training splits). QC2C_MODELS and QC2C_QUESTIONS name the folders that `qc2c fetch` filled. A run that was stopped
# continues. `qc2c` and the daemons must be on the PATH (./run build, or bundle/run-on on another machine).
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 OUT [RECIPE ...]" >&2
  exit 64
fi
out=$1
shift
recipes=("$@")
((${#recipes[@]})) || recipes=(real_codec real_selections real_codebook)
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
receiver=Qwen2.5-Coder-0.5B-Instruct sharer=Qwen2.5-Coder-1.5B-Instruct
fuser=$root/data/pairs/$receiver+$sharer codebook=$out/pair.codebook
mkdir -p "$out"
sockets=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$root/experiments/daemons.sh"
trap 'stop_daemons; rm -rf "$sockets"' EXIT

flags=(--device cuda --dtype bf16 --max-batch-size 64 --max-batch-tokens 16384)
if [[ " ${recipes[*]} " == *" real_codebook "* ]]; then
  [[ -e $codebook ]] ||
    qc2c calibrate --sharer "$QC2C_MODELS/$sharer" --receiver "$QC2C_MODELS/$receiver" --fuser "$fuser" \
      --questions "${CALIBRATION:?a JSONL file of training questions}" --prompt-format c2c_mc --device cuda --dtype bf16 \
      --limit "${CALIBRATION_LIMIT:-450}" --out "$codebook"
  flags+=(--codebook "$codebook")
fi

start_daemon qc2c-sharer "$out/sharer.log" --model "$QC2C_MODELS/$sharer" --listen "unix:$sockets/sharer" "${flags[@]}"
start_daemon qc2c-receiver "$out/receiver.log" --model "$QC2C_MODELS/$receiver" --fuser "$fuser" \
  --sharer "unix:$sockets/sharer" --listen "unix:$sockets/receiver" "${flags[@]}"
for recipe in "${recipes[@]}"; do
  qc2c eval --receiver "unix:$sockets/receiver" --recipe "$root/experiments/recipes/$recipe.yaml" --out "$out/$recipe"
done
