#!/usr/bin/env bash
# How long a question takes and where the time goes, on one GPU or the CPU:
#
#   experiments/real_pair/speed.sh OUT RECEIVER SHARER FUSER QUESTIONS [DEVICE [DTYPE [BATCHES]]]
#
# The first four after OUT are folders and a JSONL file; DEVICE is cuda, DTYPE bf16, BATCHES "1 8 64".
# For every batch size both daemons are started anew (`load` is the time until both are ready), asked 64
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
stop() {
  jobs -p | xargs -r kill 2>/dev/null || true
  wait 2>/dev/null || true
}
trap 'stop; rm -rf "$sockets"' EXIT

await() { # LOG
  for _ in $(seq 600); do
    grep -q ' ready ' "$1" && return
    sleep 0.1
  done
  echo "speed.sh: not ready; $1 ends with:" >&2
  tail -n 5 "$1" >&2
  exit 1
}

ask() { # NAME LIMIT FLAGS
  local name=$1 limit=$2
  shift 2
  qc2c eval --receiver "unix:$sockets/receiver" --questions "$questions" --limit "$limit" \
    --mode fused --prompt-format c2c_mc --max-new-tokens 8 --out "$out/$name" "$@" >"$out/$name.log" 2>&1
}

for batch in $batches; do
  common=(--device "$device" --dtype "$dtype" --max-batch-size "$batch" --max-batch-tokens $((batch * 256)))
  begin=$EPOCHREALTIME
  qc2c-sharer --model "$sharer" --listen "unix:$sockets/sharer" "${common[@]}" >"$out/sharer_$batch.log" 2>&1 &
  qc2c-receiver --model "$receiver" --sharer "unix:$sockets/sharer" --fuser "$fuser" \
    --listen "unix:$sockets/receiver" "${common[@]}" >"$out/receiver_$batch.log" 2>&1 &
  await "$out/sharer_$batch.log"
  await "$out/receiver_$batch.log"
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
  stop
done
