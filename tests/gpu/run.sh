#!/usr/bin/env bash
# Everything that needs a GPU, from a bundle (./run bundle) on a machine with one:
#   bundle/run-on tests/gpu/run.sh OUT
# Writes into OUT: machine.txt, the CUDA tests' outcome, the codec's benchmark, the demo on the CPU and on
# the GPU (fp32 and bf16), and a comparison of their answers question by question. QC2C_PYTHON must have
# torch, transformers and safetensors, for the parity fixtures. Exits with 1 if anything failed.
set -uo pipefail

out=${1:?usage: run.sh OUT}
python=${QC2C_PYTHON:?set by run-on}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
status=0

step() { # NAME COMMAND...
  local name=$1 begin=$SECONDS
  shift
  if "$@" >"$out/$name.log" 2>&1; then
    echo "ok      $name ($((SECONDS - begin)) s)"
  else
    echo "FAILED  $name ($((SECONDS - begin)) s)"
    tail -n 15 "$out/$name.log"
    status=1
  fi
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  lscpu | grep -E '^(Model name|CPU\(s\))'
  uname -r
  "$python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)'
} | tee "$out/machine.txt"

for name in cuda_test codec_test coded_frame_test decoding_test model_test captured_forward_test fuser_test; do step "$name" "$name"; done
step model_fixtures "$python" tests/parity/model_fixtures.py "$work/model"
QC2C_MODEL_FIXTURES=$work/model step model_parity_test model_parity_test
step fuser_fixtures "$python" tests/parity/fuser_fixtures.py "$work/fuser"
QC2C_FUSER_FIXTURES=$work/fuser step fuser_parity_test fuser_parity_test
grep -hE '^\[  (PASSED|SKIPPED|FAILED) ' "$out"/*_test.log | sort | uniq -c

step codec_bench codec_bench --benchmark_filter=cuda --benchmark_counters_tabular=true
for run in cpu/fp32 cuda/fp32 cuda/bf16; do
  step "demo_${run/\//_}" qc2c demo --out "$work/demo_${run/\//_}" --device "${run%/*}" --dtype "${run#*/}" --python "$python"
  cp "$work/demo_${run/\//_}/results/report.md" "$out/report_${run/\//_}.md"
done
step compare_fp32 "$python" tests/gpu/compare_predictions.py "$work/demo_cpu_fp32" "$work/demo_cuda_fp32"
cat "$out/compare_fp32.log"
# bf16 rounds where fp32 does not, so answers near a tie may differ: counted, not required to agree.
"$python" tests/gpu/compare_predictions.py --report-only "$work/demo_cuda_fp32" "$work/demo_cuda_bf16" |
  tee "$out/compare_bf16.log"
exit "$status"
