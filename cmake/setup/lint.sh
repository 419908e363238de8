# ./run lint and ./run format. Sourced by ./run.

cpp_sources() { find_sources '*.cc' '*.h' '*.cu' '*.cuh'; }
shell_sources() {
  find_sources '*.sh'
  printf '%s\0' "$QC2C_ROOT/run" "$QC2C_ROOT/.ci/run" "$QC2C_ROOT/cmake/setup/run-on"
}

# Names that git would commit, ended by NUL: never what a build or a download left behind.
find_sources() { (cd "$QC2C_ROOT" && git ls-files -z --cached --others --exclude-standard --deduplicate -- "$@"); }

in_root() { (cd "$QC2C_ROOT" && "$@"); }

rust_lint() {
  local crate=$QC2C_ROOT/common/text/rust
  if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --check --manifest-path "$crate/Cargo.toml" || return 1
  else
    say "no cargo fmt here: the Rust formatting is not checked"
  fi
  if cargo clippy --version >/dev/null 2>&1; then
    CARGO_TARGET_DIR=$QC2C_CACHE/cargo cargo clippy --quiet --locked --all-targets \
      --manifest-path "$crate/Cargo.toml" -- -D warnings
  else
    say "no cargo clippy here: the Rust code is not linted"
  fi
}

# lint_step NAME COMMAND [ARGUMENTS]: every step runs, so that one run shows everything.
lint_step() {
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    say "$name: fine ($((SECONDS - start)) s)"
  else
    lint_failures+=("$name")
  fi
}

run_lint() {
  local bin lint_failures=()
  prepare
  build_targets
  bin=$QC2C_VENV/bin
  lint_step 'clang-format' in_root xargs -0 -a <(cpp_sources) "$bin/clang-format" --dry-run -Werror
  lint_step 'ruff check' in_root "$bin/ruff" check --no-cache --quiet .
  lint_step 'ruff format' in_root "$bin/ruff" format --no-cache --check --quiet .
  lint_step 'shellcheck' in_root xargs -0 -a <(shell_sources) "$bin/shellcheck" --shell=bash --severity=style
  lint_step 'rust' rust_lint
  lint_step 'clang-tidy' "$QC2C_PYTHON" "$QC2C_ROOT/tests/lint/clang_tidy.py" --root "$QC2C_ROOT" \
    --build "$BUILD_DIR" --cache "$QC2C_CACHE/clang-tidy" --tidy "$bin/clang-tidy" --jobs "$QC2C_JOBS" "$@"
  [[ ${#lint_failures[@]} -eq 0 ]] || fail 1 "lint found something: $(printf '%s; ' "${lint_failures[@]}")"
}

run_format() {
  prepare
  in_root xargs -0 -a <(cpp_sources) "$QC2C_VENV/bin/clang-format" -i
  in_root "$QC2C_VENV/bin/ruff" check --no-cache --quiet --fix --select I .
  in_root "$QC2C_VENV/bin/ruff" format --no-cache --quiet .
  if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --manifest-path "$QC2C_ROOT/common/text/rust/Cargo.toml"
  fi
}
