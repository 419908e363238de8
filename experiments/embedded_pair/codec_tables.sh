#!/usr/bin/env bash
# Measures every codec recipe on the embedded pair, through two daemons: the tables of docs/codec.md.
#
#   experiments/embedded_pair/codec_tables.sh OUT [RECIPE ...]
#
# RECIPE is a file name in experiments/recipes without .yaml (default: all below). OUT gets a run folder a recipe
# and what the codecs need: sensitivity.json, pair.codebook, open.codebook, means.safetensors. What is there already is kept, so a
# run that was stopped continues. The ids of sensitivities and means stand in the recipes; where a new file has another one,
# the point is refused by name. BUILD_DIR and QC2C_PYTHON are as ./run sets them.
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 OUT [RECIPE ...]" >&2
  exit 64
fi
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
programs=$(realpath "${BUILD_DIR:-$source_dir/build}")/bin
out=$(realpath -m "$1")
shift
recipes=("$@")
((${#recipes[@]})) || recipes=(codec_schemes codec_selections codec_mixed codec_budgets codec_budgets_weighted keys klt klt_open)
data=$source_dir/data/embedded
pair=$data/receiver-qwen3+sharer-qwen2
models=(--receiver "$data/receiver-qwen3" --sharer "$data/sharer-qwen2" --fuser "$pair")
mkdir -p "$out"
work=$(mktemp -d)
# shellcheck source=experiments/daemons.sh
source "$source_dir/experiments/daemons.sh"
trap 'stop_daemons; rm -rf "$work"' EXIT

calibrate() { # NAME PROMPT_FORMAT
  [[ -e $out/$1.codebook ]] ||
    "$programs/qc2c" calibrate "${models[@]}" --questions "$data/questions/receiver_mc.jsonl" \
      --prompt-format "$source_dir/experiments/prompts/$2.yaml" --out "$out/$1.codebook"
}

prepare() { # what the multiple-choice recipes need
  calibrate pair embedded_mc
  if [[ ! -e $out/sensitivity.json ]]; then
    "${QC2C_PYTHON:-python3}" "$source_dir/experiments/embedded_pair/world.py" --out "$work/world" --documents "$work"
    "$programs/qc2c" sensitivity "${models[@]}" --documents "$work/fuser.jsonl" --out "$out/sensitivity.json"
  fi
  [[ -e $out/means.safetensors ]] ||
    "$programs/qc2c" means --model "$data/sharer-qwen2" --questions "$data/questions/receiver_mc.jsonl" \
      --prompt "$source_dir/experiments/prompts/embedded_mc.yaml" --out "$out/means.safetensors"
}

serve() { # FLAGS of both daemons, then -- and those of the sharer alone
  local both=()
  while (($#)) && [[ $1 != -- ]]; do
    both+=("$1")
    shift
  done
  stop_daemons
  start_daemon "$programs/qc2c-sharer" "$out/sharer.log" --model "$data/sharer-qwen2" --listen "unix:$work/sharer" \
    "${both[@]}" "${@:2}"
  start_daemon "$programs/qc2c-receiver" "$out/receiver.log" --model "$data/receiver-qwen3" --fuser "$pair" \
    --sharer "unix:$work/sharer" --listen "unix:$work/receiver" "${both[@]}"
}

serve_mc() {
  prepare
  serve --codebook "$out/pair.codebook" --calibration "$out/means.safetensors" -- \
    --sensitivity "$out/sensitivity.json" --receiver "$data/receiver-qwen3" --fuser "$pair"
}

serve_open() {
  calibrate open embedded_open
  serve --codebook "$out/open.codebook"
}

served=
for recipe in "${recipes[@]}"; do
  [[ $recipe == klt_open ]] && wanted=serve_open || wanted=serve_mc
  [[ $wanted == "$served" ]] || "$wanted"
  served=$wanted
  "$programs/qc2c" eval --receiver "unix:$work/receiver" --recipe "$source_dir/experiments/recipes/$recipe.yaml" \
    --out "$out/$recipe"
done
