# libFuzzer on the decoders of bytes from a peer. Sourced by ./run.

FUZZ_DIR=$BUILD_DIR-fuzz
FUZZERS=(rans_fuzzer codes_fuzzer frame_fuzzer decoder_fuzzer klt_fuzzer)

# Prints the newest clang++ from 16 on that can link libFuzzer; earlier ones do not read C++20's library.
fuzz_compiler() {
  local version candidate
  for version in '' -22 -21 -20 -19 -18 -17 -16; do
    candidate=clang++$version
    command -v "$candidate" >/dev/null || continue
    version_at_least "$("$candidate" -dumpversion)" 16 || continue
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
      "$candidate" -fsanitize=fuzzer,address -x c++ - -o /dev/null 2>/dev/null || continue
    echo "$candidate"
    return
  done
  return 1
}

# Installs the newest clang that the distribution has with its run-time library, as root; 500 MB.
install_fuzz_compiler() {
  local version
  command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] || return
  for version in 20 19 18 17 16; do
    [[ $(apt-cache policy "libclang-rt-$version-dev" 2>/dev/null) == *'Candidate: '[1-9]* ]] || continue
    say "installing clang-$version for libFuzzer"
    DEBIAN_FRONTEND=noninteractive with_heartbeat "$QC2C_CACHE/clang.log" true \
      apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
      "clang-$version" "libclang-rt-$version-dev"
    return
  done
}

configure_fuzz() {
  configure "$FUZZ_DIR" -DQC2C_FUZZ=ON -DQC2C_PRECOMPILE=OFF -DQC2C_ENABLE_TORCH=OFF -DQC2C_ENABLE_CUDA=OFF \
    "-DCMAKE_C_COMPILER=${1/clang++/clang}" "-DCMAKE_CXX_COMPILER=$1" \
    "-DPython3_EXECUTABLE=$QC2C_PYTHON" "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1"
}

# fuzz_one FUZZER SECONDS: from the corpus in tests/fuzz/corpus; what is found new goes to the build folder.
fuzz_one() {
  local fuzzer=$1 seconds=$2 found=$FUZZ_DIR/found/$1
  mkdir -p "$found"
  if "$FUZZ_DIR/bin/$fuzzer" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 "-artifact_prefix=$found-" "$found" "$QC2C_ROOT/tests/fuzz/corpus/$fuzzer" \
    >"$found.log" 2>&1; then
    say "$fuzzer: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log") executions, no finding"
  else
    tail -n 30 "$found.log" >&2
    say "$fuzzer: a finding; whole log: $found.log"
    return 1
  fi
}

# fuzz SECONDS: so many in all, a share for each program, as many at a time as there are jobs. Skips, loudly,
# without a clang.
fuzz() {
  local seconds=$1 compiler fuzzer running=0 status=0
  if ! compiler=$(fuzz_compiler); then
    install_fuzz_compiler
    if ! compiler=$(fuzz_compiler); then
      say "SKIPPED: fuzzing needs clang 16 or newer with libFuzzer (packages clang-N and libclang-rt-N-dev)"
      return
    fi
  fi
  locked "$FUZZ_DIR" configure_fuzz "$compiler" || return
  locked "$FUZZ_DIR" run_ninja "$FUZZ_DIR" "${FUZZERS[@]}" || return
  for fuzzer in "${FUZZERS[@]}"; do
    fuzz_one "$fuzzer" "$((seconds / ${#FUZZERS[@]}))" &
    if ((++running == QC2C_JOBS)); then
      wait -n || status=1
      running=$((running - 1))
    fi
  done
  for (( ; running > 0; --running)); do wait -n || status=1; done
  return "$status"
}

run_fuzz() {
  local seconds=${1:-60}
  [[ $# -le 1 && $seconds =~ ^[1-9][0-9]*$ ]] || fail 64 "fuzz takes a number of seconds, found '$*'"
  prepare
  fuzz "$seconds"
}
