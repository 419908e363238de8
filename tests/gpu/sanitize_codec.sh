#!/usr/bin/env bash
# The codec's kernels under compute-sanitizer, on a machine with a GPU; two minutes on an H200.
#   ./run bundle codec_test coded_frame_test        where it is built
#   bundle/run-on bash tests/gpu/sanitize_codec.sh  there
# memcheck: reads and writes out of bounds. racecheck: the rANS kernels, whose warps share memory.
set -uo pipefail

sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
[[ -x $sanitizer ]] || { echo "needs compute-sanitizer, of the CUDA toolkit" >&2; exit 69; }
status=0

# check TOOL PROGRAM FILTER
check() {
  echo "== $1: $2 $3"
  "$sanitizer" --tool "$1" --error-exitcode 9 "bin/$2" --gtest_brief=1 "--gtest_filter=$3" || status=1
}

check memcheck codec_test '*Cuda*'
check memcheck coded_frame_test '*'
check racecheck codec_test 'RansCudaTest.*'
check synccheck codec_test 'RansCudaTest.*'
exit "$status"
