#!/usr/bin/env bash
# Asks the embedded pairs what the demo does not, in fp32 with both daemons on the CPU and on a GPU, and compares answers and
# bytes question by question: codes that leave and reach the GPU entropy-coded, and the alignments of another tokenizer,
# in which passes are given their positions.
#
#   bundle/run-on tests/gpu/daemons.sh OUT [LIMIT]
#
# The first LIMIT (1088) held-out questions are asked. QC2C_PYTHON is set by run-on. Exits with 1 if an answer differs, or a
# count of a codec without entropy coding.
set -euo pipefail

if (($# < 1)); then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
out=$1 limit=${2:-1088}
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
data=$root/data/embedded
mkdir -p "$out"
sockets=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$root/experiments/daemons.sh"
trap 'stop_daemons; rm -rf "$sockets"' EXIT

# NAME SHARER ALIGNMENT CODEC...
cases=(
  "entropy qwen2 same_ids int8,entropy=rans int4,entropy=rans int3,axis=per_channel,entropy=rans int4,entropy=zstd"
  "first llama first int8 int4,entropy=rans"
  "longest llama longest int8 int4,entropy=rans"
  "span llama span int8 int4,entropy=rans"
)

ask() { # DEVICE NAME SHARER ALIGNMENT CODEC...
  local device=$1 name=$2 sharer=$3 alignment=$4 codec common=(--device "$1" --dtype fp32 --max-batch-size 64)
  shift 4
  start_daemon qc2c-sharer "$out/sharer_${device}_$name.log" --model "$data/sharer-$sharer" --listen "unix:$sockets/sharer" \
    "${common[@]}"
  start_daemon qc2c-receiver "$out/receiver_${device}_$name.log" --model "$data/receiver-qwen3" \
    --fuser "$data/receiver-qwen3+sharer-$sharer" --alignment "$alignment" --sharer "unix:$sockets/sharer" \
    --listen "unix:$sockets/receiver" "${common[@]}"
  for codec in "$@"; do
    qc2c eval --receiver "unix:$sockets/receiver" --questions "$data/questions/heldout_mc.jsonl" --limit "$limit" \
      --mode fused --codec "$codec" --prompt-format "$root/experiments/prompts/embedded_mc.yaml" --max-new-tokens 1 \
      --out "$out/$device/$name/$codec" >"$out/${device}_${name}_$codec.log" 2>&1
  done
  stop_daemons
}

status=0
for case in "${cases[@]}"; do
  read -ra words <<<"$case"
  for device in cpu cuda; do ask "$device" "${words[@]}"; done
  for codec in "${words[@]:3}"; do
    echo "${words[0]} $codec:"
    # The models' last bits differ, and so may a code next to a tie: it has no weight in plain frames, but a length in these.
    flags=()
    [[ $codec == *entropy=* ]] && flags=(--any-bytes)
    "$QC2C_PYTHON" "$root/tests/gpu/compare_predictions.py" "${flags[@]}" "$out"/{cpu,cuda}/"${words[0]}/$codec" || status=1
  done
done
exit "$status"
