#!/usr/bin/env bash
# Asks real pairs what daemons of one's own are needed for, on a GPU, and keeps the run folders:
#
#   experiments/real_pair/codecs.sh OUT [RECIPE[:PAIR] ...]
#
# RECIPE is real_codec, real_mixed, real_selections, real_budgets, real_budgets_weighted, real_codebook, real_text or
# real_text_answer, of PAIR qwen (default) or smollm2, or real_fact_codebook, whose pair is `fact` (default: all that have
# no PAIR, but real_text_answer). real_text_answer also of swapped and gemma, which have no fuser here.
#
# A codebook is OUT/PAIR.codebook; one that is missing is first made from the first $CALIBRATION_LIMIT (450) questions of
# $CALIBRATION (JSONL, of the training splits; with facts for `fact`), with --metric $METRIC (fuser). Sensitivities are
# OUT/sensitivity.json, measured with $DOCUMENTS (of documents.sh) where missing; their id stands in the recipe.
#
# QC2C_MODELS and QC2C_QUESTIONS name the folders that `qc2c fetch` filled. A run that was stopped continues. `qc2c` and
# the daemons must be on the PATH (./run build, or bundle/run-on on another machine).
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 OUT [RECIPE ...]" >&2
  exit 64
fi
out=$1
shift
recipes=("$@")
((${#recipes[@]})) || recipes=(real_codec real_mixed real_selections real_budgets real_budgets_weighted real_codebook
  real_fact_codebook real_text)
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
mkdir -p "$out"
sockets=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$root/experiments/daemons.sh"
trap 'stop_daemons; rm -rf "$sockets"' EXIT

declare -A receiver=([qwen]=Qwen2.5-Coder-0.5B-Instruct [smollm2]=SmolLM2-135M-Instruct [fact]=SmolLM2-135M-Instruct
  [swapped]=SmolLM2-135M-Instruct [gemma]=SmolLM2-135M-Instruct)
declare -A sharer=([qwen]=Qwen2.5-Coder-1.5B-Instruct [smollm2]=Qwen2.5-Coder-1.5B-Instruct [fact]=Qwen2.5-Coder-0.5B-Instruct
  [swapped]=Qwen2.5-Coder-0.5B-Instruct [gemma]=gemma-3-270m)
declare -A format=([qwen]=c2c_mc [smollm2]=c2c_mc [fact]=fact_options)
device=(--device cuda --dtype bf16)

serve() { # PAIR CODEBOOK NEED: empty, or `receiver` or `sensitivities`, which the sharer shall hold
  local own_receiver=${receiver[$1]} own_sharer=${sharer[$1]} held=()
  local fuser=$root/data/pairs/$own_receiver+$own_sharer fused=() flags=("${device[@]}" --max-batch-size 64 --max-batch-tokens 16384)
  if [[ $2 ]]; then
    [[ -e $2 ]] ||
      qc2c calibrate --sharer "$QC2C_MODELS/$own_sharer" --receiver "$QC2C_MODELS/$own_receiver" --fuser "$fuser" \
        --questions "${CALIBRATION:?a JSONL file of training questions}" --prompt-format "${format[$1]}" "${device[@]}" \
        --limit "${CALIBRATION_LIMIT:-450}" --metric "${METRIC:-fuser}" --out "$2"
    flags+=(--codebook "$2")
  fi
  case $3 in
    receiver) held=(--receiver "$QC2C_MODELS/$own_receiver" --fuser "$fuser") ;;
    sensitivities)
      [[ -e $out/sensitivity.json ]] ||
        qc2c sensitivity --sharer "$QC2C_MODELS/$own_sharer" --receiver "$QC2C_MODELS/$own_receiver" --fuser "$fuser" \
          --documents "${DOCUMENTS:?training documents}" "${device[@]}" --limit 64 --out "$out/sensitivity.json"
      held=(--sensitivity "$out/sensitivity.json")
      ;;
  esac
  stop_daemons
  start_daemon qc2c-sharer "$out/sharer.log" --model "$QC2C_MODELS/$own_sharer" --listen "unix:$sockets/sharer" \
    "${flags[@]}" "${held[@]}"
  case $1 in
    swapped | gemma) ;; # SmolLM2 <- 0.5B has one for facts, which these questions do not read
    *) fused=(--fuser "$fuser") ;;
  esac
  start_daemon qc2c-receiver "$out/receiver.log" --model "$QC2C_MODELS/$own_receiver" "${fused[@]}" \
    --sharer "unix:$sockets/sharer" --listen "unix:$sockets/receiver" "${flags[@]}"
}

served=
for wanted in "${recipes[@]}"; do
  recipe=${wanted%%:*} pair=qwen codebook='' need=''
  [[ $recipe == real_fact_codebook ]] && pair=fact
  [[ $wanted == *:* ]] && pair=${wanted#*:}
  [[ $recipe == *_codebook ]] && codebook=$out/$pair.codebook
  [[ $recipe == real_selections ]] && need=receiver # for projected_norm and residual_norm
  [[ $recipe == real_budgets_weighted ]] && need=sensitivities
  [[ $pair:$codebook:$need == "$served" ]] || serve "$pair" "$codebook" "$need"
  served=$pair:$codebook:$need
  qc2c eval --receiver "unix:$sockets/receiver" --recipe "$root/experiments/recipes/$recipe.yaml" \
    --out "$out/${wanted/:/_}"
done
