# ./run test and ./run bench. Sourced by ./run.

# The libraries that read bytes from a peer; they are tested a second time under the sanitizers.
SANITIZED_TESTS='^(base|tensor|codec|wire|golden|fuzz|fault)[a-z0-9_]*$'

configure_sanitized() {
  configure "$SANITIZE_DIR" -DQC2C_SANITIZE=ON -DQC2C_ENABLE_TORCH=OFF -DQC2C_ENABLE_CUDA=OFF \
    "-DPython3_EXECUTABLE=$QC2C_PYTHON" "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1"
}

# ctest_in FOLDER RESULTS_FOLDER [CTEST ARGUMENTS]
ctest_in() {
  local folder=$1 results=$2
  shift 2
  mkdir -p "$results"
  GTEST_OUTPUT="xml:$results/gtest/" ctest --test-dir "$folder" --output-on-failure --no-tests=error \
    --timeout 900 --output-junit "$results/ctest.xml" "$@"
}

python_tests() {
  local results=$1 folders=() folder
  for folder in tests experiments; do
    if [[ -n $(find "$QC2C_ROOT/$folder" -name 'test_*.py' -o -name '*_test.py' | head -n 1) ]]; then
      folders+=("$folder")
    fi
  done
  [[ ${#folders[@]} -eq 0 ]] && return
  (cd "$QC2C_ROOT" && "$QC2C_PYTHON" -m pytest -q -p no:cacheprovider -rs \
    "--junitxml=$results/pytest.xml" "${folders[@]}")
}

run_tests() {
  local failed=() results=$BUILD_DIR/test-results
  [[ $# -eq 0 ]] || fail 64 "test takes no arguments, found '$*'"
  prepare
  build_targets
  rm -rf "$results"

  say "C++ tests"
  ctest_in "$BUILD_DIR" "$results/default" -j 2 || failed+=("C++ tests")

  say "codec and wire tests under the address and undefined-behaviour sanitizers"
  locked "$SANITIZE_DIR" configure_sanitized
  local targets=()
  mapfile -t targets < <(targets_ending_in "$SANITIZE_DIR" _test | grep -E "$SANITIZED_TESTS")
  locked "$SANITIZE_DIR" run_ninja "$SANITIZE_DIR" "${targets[@]}"
  UBSAN_OPTIONS=print_stacktrace=1 ctest_in "$SANITIZE_DIR" "$results/sanitized" -j 2 -R "$SANITIZED_TESTS" ||
    failed+=("sanitizer tests")

  say "Python tests"
  python_tests "$results" || failed+=("Python tests")

  "$QC2C_PYTHON" "$QC2C_ROOT/cmake/setup/summarize_tests.py" "$results" || failed+=("summary")
  [[ ${#failed[@]} -eq 0 ]] || fail 1 "failed: $(printf '%s; ' "${failed[@]}")"
}

run_benchmarks() {
  local names=() name pattern
  prepare
  locked "$BUILD_DIR" configure_default
  mapfile -t names < <(targets_ending_in "$BUILD_DIR" _bench)
  if [[ $# -gt 0 ]]; then
    pattern=$(IFS='|' && echo "$*")
    mapfile -t names < <(printf '%s\n' "${names[@]}" | grep -E -- "$pattern")
  fi
  [[ ${#names[@]} -gt 0 ]] || fail 64 "no benchmark is called like '$*'"
  build_targets "${names[@]}"
  cd "$QC2C_ROOT" || exit
  for name in "${names[@]}"; do
    say "$name"
    BENCHMARK_MIN_TIME=${BENCHMARK_MIN_TIME:-0.1} "$BUILD_DIR/bin/$name"
  done
}
