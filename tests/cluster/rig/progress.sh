# Sourced by the rig's scripts: tells what happens, with the seconds since the start, so that nobody wonders whether it hangs.
STARTED=${STARTED:-$(date +%s)}
export STARTED
running=

say() { printf '[%4d s] %s\n' "$(($(date +%s) - STARTED))" "$*"; }

# during WHAT LOG COMMAND…: COMMAND's output goes to LOG; a sign of life every 20 seconds; LOG's end where it fails.
during() {
  local what=$1 log=$2 clock
  shift 2
  say "$what"
  "$@" > "$log" 2>&1 &
  running=$!
  while :; do
    sleep 20 &
    clock=$!
    wait -n "$running" "$clock" || true
    if ! kill -0 "$running" 2> /dev/null; then
      kill "$clock" 2> /dev/null || true
      break
    fi
    say "  still at it: $(wc -l < "$log") lines of log, last: $(tail -n 1 "$log" | cut -c 1-70)"
  done
  if ! wait "$running"; then
    running=
    tail -n 30 "$log" >&2
    say "failed: $what" >&2
    return 1
  fi
  running=
}

# What `during` runs in the background would ignore Ctrl-C.
end_running() { [ -z "$running" ] || kill "$running" 2> /dev/null || true; }
trap 'end_running; exit 130' INT
trap 'end_running; exit 143' TERM
