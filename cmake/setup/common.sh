# Paths, messages and small pieces that every command uses. Sourced by ./run.
# Messages go to stderr: the stdout of a program that ./run starts is that program's alone.

QC2C_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/qc2c
BUILD_DIR=${BUILD_DIR:-$QC2C_ROOT/build}
[[ $BUILD_DIR == /* ]] || BUILD_DIR=$PWD/$BUILD_DIR
SANITIZE_DIR=$BUILD_DIR-sanitize
export QC2C_CACHE BUILD_DIR

say() { printf 'qc2c: %s\n' "$*" >&2; }

# fail CODE MESSAGE: sysexits codes, as the programs use them (69 unavailable, 70 internal, 73 cannot create).
fail() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

# version_at_least HAVE WANT
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

default_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable/ { print int($2 / (2 * 1024 * 1024)) }' /proc/meminfo)
  ((by_memory < 1)) && by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}
QC2C_JOBS=${QC2C_JOBS:-$(default_jobs)}
export QC2C_JOBS

# Runs a long command with its output in a log file, says every 10 s how far it is (a command that
# prints a short text), and shows the end of the log if it fails.
#   with_heartbeat LOG PROGRESS_COMMAND COMMAND [ARGUMENTS]
with_heartbeat() {
  local log=$1 progress=$2 pid status=0 start=$SECONDS next=$((SECONDS + 10))
  shift 2
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  # shellcheck disable=SC2064
  trap "kill $pid 2>/dev/null; exit 130" INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    ((SECONDS < next)) && continue
    next=$((SECONDS + 10))
    say "  $((SECONDS - start)) s $($progress)"
  done
  wait "$pid" || status=$?
  trap - INT TERM
  if ((status != 0)); then
    tail -n 20 "$log" >&2
    say "failed with exit code $status; whole log: $log"
  fi
  return "$status"
}

# Everything that a command needs before it can build.
prepare() {
  mkdir -p "$QC2C_CACHE" || fail 73 "cannot create the cache folder $QC2C_CACHE"
  ensure_packages
  ensure_python
}

clean_up() {
  case ${1:-} in
    '' | --cache) ;;
    *) fail 64 "clean takes no argument but --cache, found '$1'" ;;
  esac
  rm -rf "$BUILD_DIR" "$SANITIZE_DIR" "$FUZZ_DIR" "$QC2C_ROOT/bundle"
  if [[ ${1:-} == --cache ]]; then
    rm -rf "$QC2C_CACHE"
    say "removed the build folders and $QC2C_CACHE"
  else
    say "removed the build folders; $QC2C_CACHE stays (./run clean --cache removes it)"
  fi
}
