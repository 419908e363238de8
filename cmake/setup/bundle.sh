# ./run bundle: what a machine needs that has the same libtorch but none of our libraries, for example
# a GPU node. Everything else there (glibc, libstdc++, libtorch, CUDA) is its own. Sourced by ./run.

BUNDLE_LIMIT_MIB=160
# Never bundled: the C and C++ runtimes, and what lies in the Python environment.
BUNDLE_LEAVES_OUT='^(ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libstdc\+\+|libgcc_s)\.so'

bundled_targets() {
  targets_ending_in "$BUILD_DIR" '_\(test\|bench\)' |
    grep -E '^(captured_forward|coded_frame|codec_(test|bench)|cuda|decoding|model_(test|parity|bench)|fuser)'
}

# Paths of the shared libraries that the given programs load and the other machine lacks.
bundled_libraries() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u | while read -r name path; do
    [[ $name =~ $BUNDLE_LEAVES_OUT || $path == "$QC2C_VENV"/* ]] || echo "$path"
  done
}

copy_bundle_files() {
  local bundle=$1
  cp "$QC2C_ROOT/cmake/setup/run-on" "$bundle/run-on"
  git -C "$QC2C_ROOT" describe --always --dirty --tags >"$bundle/REVISION"
  (cd "$QC2C_ROOT" && git ls-files -z --cached --others --exclude-standard -- \
    data/embedded data/pairs experiments/recipes experiments/prompts experiments/real_pair experiments/daemons.sh experiments/plot.py proto/FORMAT.md tests/gpu tests/parity |
    xargs -0 -r cp --parents -t "$bundle")
}

make_bundle() {
  local bundle=$QC2C_ROOT/bundle programs=(qc2c qc2c-sharer qc2c-receiver) extra=() name libraries=() size
  prepare
  locked "$BUILD_DIR" configure_default
  mapfile -t extra < <(if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else bundled_targets; fi)
  programs+=("${extra[@]}")
  build_targets "${programs[@]}"
  rm -rf "$bundle"
  mkdir -p "$bundle/bin" "$bundle/lib"
  mapfile -t libraries < <(cd "$BUILD_DIR/bin" && bundled_libraries "${programs[@]}")
  cp --dereference "${libraries[@]}" "$bundle/lib/"
  for name in "${programs[@]}"; do
    strip -o "$bundle/bin/$name" "$BUILD_DIR/bin/$name"
    # DT_RPATH (unlike DT_RUNPATH) also serves what our libraries load; libtorch is run-on's business.
    # shellcheck disable=SC2016
    patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$bundle/bin/$name"
  done
  copy_bundle_files "$bundle"
  size=$(du -sm "$bundle" | cut -f 1)
  say "bundle: ${#programs[@]} programs, ${#libraries[@]} libraries, $size MiB in $bundle"
  du -sh "$bundle"/bin/* "$bundle"/lib "$bundle"/data 2>/dev/null | sort -rh | head -n 12 >&2 || true
  ((size < BUNDLE_LIMIT_MIB)) || fail 1 "the bundle is $size MiB, expected less than $BUNDLE_LIMIT_MIB"
}
