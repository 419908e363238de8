#!/usr/bin/env bash
# Asks a real pair the same questions in fp32 with both daemons on the CPU and on a GPU, and compares answers and
# bytes question by question:
#
#   bundle/run-on tests/gpu/real_pair.sh OUT RECEIVER SHARER FUSER QUESTIONS [LIMIT]
#
# RECEIVER, SHARER and FUSER are folders, QUESTIONS a JSONL file of lettered questions of which the first LIMIT (64) are
# asked; RECEIVER_FLAGS are more flags of the receiver (--alignment first). QC2C_PYTHON is set by run-on. The CPU takes
# minutes: with DEVICES=cpu and DEVICES=cuda the two halves run apart, on two machines, and the one that finds the other's
# OUT/cpu and OUT/cuda compares. Exits with 1 if an answer or a count differs.
set -euo pipefail

if (($# < 5)); then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
out=$1 receiver=$2 sharer=$3 fuser=$4 questions=$5 limit=${6:-64}
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
read -ra receiver_flags <<<"${RECEIVER_FLAGS:-}"
mkdir -p "$out"
sockets=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$root/experiments/daemons.sh"
trap 'stop_daemons; rm -rf "$sockets"' EXIT

for device in ${DEVICES:-cuda cpu}; do
  common=(--device "$device" --dtype fp32 --max-batch-size 8)
  start_daemon qc2c-sharer "$out/sharer_$device.log" --model "$sharer" --listen "unix:$sockets/sharer" "${common[@]}"
  start_daemon qc2c-receiver "$out/receiver_$device.log" --model "$receiver" --fuser "$fuser" \
    --sharer "unix:$sockets/sharer" --listen "unix:$sockets/receiver" "${common[@]}" \
    "${receiver_flags[@]}"
  for codec in bf16 int4; do
    qc2c eval --receiver "unix:$sockets/receiver" --questions "$questions" --limit "$limit" --mode fused --codec "$codec" \
      --prompt-format c2c_mc --max-new-tokens 8 --in-flight 16 --out "$out/$device/$codec" >"$out/${device}_$codec.log" 2>&1
  done
  stop_daemons
done
if [[ ! -d $out/cpu || ! -d $out/cuda ]]; then
  echo "nothing to compare yet: $out needs both cpu and cuda"
  exit 0
fi
status=0
for codec in bf16 int4; do
  echo "$codec:"
  "$QC2C_PYTHON" "$root/tests/gpu/compare_predictions.py" "$out/cpu/$codec" "$out/cuda/$codec" || status=1
done
exit "$status"
