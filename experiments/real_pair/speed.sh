#!/usr/bin/env bash
# How long a question takes and where the time goes, on one GPU or the CPU:
#
#   experiments/real_pair/speed.sh OUT RECEIVER SHARER FUSER QUESTIONS [DEVICE [DTYPE [BATCHES]]]
#
# The first four after OUT are folders and a JSONL file; DEVICE is cuda, DTYPE bf16, BATCHES "1 8 64".
# For every batch size both daemons are started anew, one after the other (`load` is the time until both are ready), asked 64
# questions to warm up, then the first 8 to 512 of QUESTIONS in flight together, with int8 and int4.
# Prints a JSON line a point and the GPU memory of both processes, and keeps the run folders in OUT.
# `qc2c` and the daemons must be on the PATH.
set -euo pipefail

if (($# < 5)); then
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
out=$1 receiver=$2 sharer=$3 fuser=$4 questions=$5
device=${6:-cuda} dtype=${7:-bf16} batches=${8:-1 8 64}
python=${QC2C_PYTHON:-python3}
mkdir -p "$out"
sockets=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../daemons.sh"
trap 'stop_daemons; rm -rf "$sockets"' EXIT

ask() { # NAME LIMIT FLAGS
  local name=$1 limit=$2
  shift 2
  qc2c eval --receiver "unix:$sockets/receiver" --questions "$questions" --limit "$limit" \
    --mode fused --prompt-format c2c_mc --max-new-tokens 8 --out "$out/$name" "$@" >"$out/$name.log" 2>&1
}

for batch in $batches; do
  common=(--device "$device" --dtype "$dtype" --max-batch-size "$batch" --max-batch-tokens $((batch * 256)))
  begin=$EPOCHREALTIME
  start_daemon qc2c-sharer "$out/sharer_$batch.log" --model "$sharer" --listen "unix:$sockets/sharer" "${common[@]}"
  start_daemon qc2c-receiver "$out/receiver_$batch.log" --model "$receiver" --fuser "$fuser" \
    --sharer "unix:$sockets/sharer" --listen "unix:$sockets/receiver" "${common[@]}"
  printf '{"batch": %d, "load_s": %.1f}\n' "$batch" "$(awk "BEGIN {print $EPOCHREALTIME - $begin}")"
  ask "warm_$batch" 64 --codec int8 --in-flight "$batch"
  for codec in int8 int4; do
    name=${codec}_batch_$batch
    ask "$name" $((batch == 1 ? 64 : batch == 8 ? 256 : 512)) --codec "$codec" --in-flight $((batch == 1 ? 1 : 2 * batch))
    "$python" - "$batch" "$out/$name/results/points.jsonl" <<'PYTHON'
import json, sys

for line in open(sys.argv[2]):
    point = json.loads(line)
    print(json.dumps({"batch": int(sys.argv[1]), "point": point["point"], "n": point["n"], "latency_ms": point["latency_ms"]}))
PYTHON
  done
  if [[ $device == cuda* ]]; then
    nvidia-smi --query-compute-apps=pid,used_memory --format=csv,noheader || true
    nvidia-smi --query-gpu=memory.used --format=csv,noheader
  fi
  stop_daemons
done
