# Configure and compile. Sourced by ./run.

export CCACHE_DIR=${CCACHE_DIR:-$QC2C_CACHE/ccache}
export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
# Paths below the checkout are hashed relative to it, so another clone hits the same cache.
export CCACHE_BASEDIR=$QC2C_ROOT CCACHE_NOHASHDIR=1
# What it needs to be told before it trusts precompiled headers.
export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_INODECACHE=true
export NINJA_STATUS='[%f/%t, %es] '

# configure FOLDER [CMAKE ARGUMENTS]: only when the arguments changed or nothing was configured;
# ninja itself notices changed CMake files.
configure() {
  local folder=$1
  shift
  local arguments=(-G Ninja "-DCMAKE_C_COMPILER_LAUNCHER=ccache" "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache" "$@")
  if [[ -f $folder/build.ninja && $(cat "$folder/.configured" 2>/dev/null) == "${arguments[*]}" ]]; then
    return
  fi
  say "configuring $folder"
  mkdir -p "$folder" || fail 73 "cannot create the build folder $folder"
  # Fresh: compiler and library paths that CMake remembered belong to the old arguments.
  if ! cmake --fresh --no-warn-unused-cli -S "$QC2C_ROOT" -B "$folder" "${arguments[@]}" >"$folder/configure.log" 2>&1; then
    tail -n 30 "$folder/configure.log" >&2
    fail 70 "cmake failed; whole log: $folder/configure.log"
  fi
  echo "${arguments[*]}" >"$folder/.configured"
}

configure_default() {
  # shellcheck disable=SC2086
  configure "$BUILD_DIR" "-DQC2C_VENV=$QC2C_VENV" "-DCARGO=$QC2C_CARGO" "-DPython3_EXECUTABLE=$QC2C_PYTHON" \
    "-DQC2C_CARGO_TARGET_DIR=$QC2C_CACHE/cargo" -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache ${QC2C_CMAKE_ARGS:-}
}

# On a terminal ninja updates one line; into a file a line every 15 s is enough. All else is shown.
ninja_progress() {
  local line next=0
  while IFS= read -r line; do
    [[ $line == '-- '* || $line == 'ninja: Entering'* ]] && continue
    if [[ $line =~ ^\[[0-9]+/[0-9]+,\  ]]; then
      ((SECONDS >= next)) || continue
      next=$((SECONDS + 15))
    fi
    printf '%s\n' "$line"
  done
}

run_ninja() {
  local folder=$1
  shift
  if [[ $(ninja -C "$folder" -n "$@" 2>&1 | tail -n 1) == 'ninja: no work to do.' ]]; then
    return
  fi
  say "building $folder (jobs: $QC2C_JOBS)"
  if [[ -t 2 ]]; then
    ninja -C "$folder" -j "$QC2C_JOBS" "$@" >&2 || fail 70 "the build failed"
  else
    ninja -C "$folder" -j "$QC2C_JOBS" "$@" 2>&1 | ninja_progress >&2 || fail 70 "the build failed"
  fi
}

# locked FOLDER COMMAND [ARGUMENTS]: one command at a time in a build folder.
locked() {
  local folder=$1
  shift
  mkdir -p "$folder" || fail 73 "cannot create the build folder $folder"
  (
    flock --nonblock 9 || { say "waiting for another ./run that builds $folder" && flock 9; }
    "$@" 9>&-
  ) 9>"$folder/.lock"
}

build_targets() {
  locked "$BUILD_DIR" configure_default
  locked "$BUILD_DIR" run_ninja "$BUILD_DIR" "$@"
}
build_programs() { build_targets qc2c qc2c-sharer qc2c-receiver; }

# Names of the targets that end in the given suffix, one a line.
targets_ending_in() {
  ninja -C "$1" -t targets all | sed -n "s/^\([A-Za-z0-9_-]*$2\): phony\$/\1/p" | grep -v ^cmake_object_order | sort
}
