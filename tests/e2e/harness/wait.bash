# Waiting for something that another process does: always for a condition, always with a deadline.

# Milliseconds of a clock that never goes back.
now_ms() {
        local up
        read -r up _ </proc/uptime
        echo "$((${up%.*} * 1000 + 10#${up#*.} * 10))"
}

# How many times longer than on an idle machine something may take. Patience is no check: what comes true at once costs no
# more of it, and what never does fails all the same.
PATIENCE=3

# eventually SECONDS COMMAND...: runs it until it succeeds, every 50 ms, and prints the output of its last
# run. At the deadline, PATIENCE times SECONDS, it also says on standard error what did not come true, and returns 1: its
# last run begins behind the deadline, for a machine may stand still in the midst of one. The command runs in a subshell.
eventually() {
        local seconds=$(($1 * PATIENCE)) deadline output begun
        deadline=$(($(now_ms) + seconds * 1000))
        shift
        while begun=$(now_ms) && ! output=$("$@" 2>&1); do
                if ((begun >= deadline)); then
                        [[ -z $output ]] || printf '%s\n' "$output"
                        echo "not true within $seconds s: $*" >&2
                        return 1
                fi
                sleep 0.05
        done
        [[ -z $output ]] || printf '%s\n' "$output"
}

# lacks PATTERN: that no line of its input matches (grep -E); prints those that do.
lacks() {
        ! grep -E -- "$1"
}

# never SECONDS COMMAND...: fails as soon as it succeeds. For what must not happen; it always takes its whole
# time.
never() {
        local seconds=$1 deadline
        deadline=$(($(now_ms) + seconds * 1000))
        shift
        while (($(now_ms) < deadline)); do
                if "$@"; then
                        echo "came true: $*" >&2
                        return 1
                fi
                sleep 0.05
        done
}
