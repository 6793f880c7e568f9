# Steps with a progress line and a log each.
logs=.cache/dev

say() { printf '%s\n' "$*"; }

# step LABEL LOG COMMAND...: runs the command with its output in the log. On a terminal the line counts the seconds; elsewhere a line every half
# minute shows that it lives. A failure prints the end of the log.
step() {
    local label=$1 log=$logs/$2.log rc=0 began=$SECONDS ticker=
    shift 2
    mkdir -p "$logs"
    printf '  %-44s' "$label"
    if [ -t 1 ]; then tick_terminal "$label" & else tick_lines "$label" "$log" & fi
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || rc=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    [ -t 1 ] && printf '\r  %-44s' "$label"
    if [ $rc -eq 0 ]; then
        printf '%4ds  ok\n' $((SECONDS - began))
    else
        printf '%4ds  failed (%s)\n' $((SECONDS - began)) "$log"
    fi
    return $rc
}

# pause SECONDS, in the shell itself: a program would outlive it, and hold its output open.
pause() { read -rt "$1" <> <(:) || true; }

tick_terminal() {
    local n=0
    while kill -0 $$ 2>/dev/null; do
        pause 1
        n=$((n + 1))
        printf '\r  %-44s%4ds' "$1" $n
    done
}

tick_lines() {
    local n=0
    while kill -0 $$ 2>/dev/null; do
        pause 30
        n=$((n + 30))
        printf '\n    %ds: %s' $n "$(tail -n 1 "$2" 2>/dev/null | tr -d '\r' | cut -c1-100)"
    done
}

# must STEP...: a step without which nothing further makes sense.
must() {
    step "$@" && return 0
    say "--- the end of $logs/$2.log:"
    tail -n 40 "$logs/$2.log" | sed 's/^/    /'
    exit 1
}

cpus() { nproc 2>/dev/null || echo 1; }
