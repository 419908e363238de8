#!/usr/bin/env bash
# Writes the training documents of the real pairs:
#
#   experiments/real_pair/documents.sh DATA MODELS OUT
#
# DATA is a folder with the training, validation and test splits (documents.py says which and how they
# look), MODELS holds the model folders that `qc2c fetch` makes. QC2C_PYTHON names a Python that has
# `transformers` (default: python3).
set -euo pipefail

if (($# != 3)); then
  echo "usage: $0 DATA MODELS OUT" >&2
  exit 64
fi
data=$1 models=$2 out=$3
program=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)/documents.py
small=$models/Qwen2.5-Coder-0.5B-Instruct large=$models/Qwen2.5-Coder-1.5B-Instruct
other=$models/SmolLM2-135M-Instruct

write() {  # NAME FLAGS
  local name=$1
  shift
  echo "$name"
  "${QC2C_PYTHON:-python3}" "$program" --data "$data" --out "$out/$name.jsonl" \
    --check-out "$out/${name}_check.jsonl" "$@"
}

write qwen --receiver "$small"
write smollm2 --receiver "$other" --sharer "$large"
write gemma --receiver "$other" --sharer "$models/gemma-3-270m"
write fact --style fact --receiver "$other" --sharer "$small" --max-tokens 170
(cd "$out" && sha256sum -- *.jsonl >SHA256SUMS)
