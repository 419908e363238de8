# For scripts that run daemons of their own. Sourced.

# Starts a program in the background and waits for its ready line; a program that ends before it ends the script.
start_daemon() { # PROGRAM LOG FLAGS...
  local program=$1 log=$2
  shift 2
  : >"$log"
  "$program" "$@" >>"$log" 2>&1 &
  until grep -q ' ready ' "$log"; do
    if ! kill -0 $! 2>/dev/null; then
      echo "$program ended before it was ready; $log ends with:" >&2
      tail -n 5 "$log" >&2
      exit 1
    fi
    sleep .1
  done
}

# Stops every program that was started in the background.
stop_daemons() {
  jobs -p | xargs -r kill 2>/dev/null || true
  wait 2>/dev/null || true
}
