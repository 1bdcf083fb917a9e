# Processes in the background, with their output in a file. They hold none of bats' own descriptors, for which
# it waits. Their records are the world's where there is one; without a world they are the test's.

spawn_directory_() {
        local directory=${WORLD:-${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}}/spawned
        [[ -d $directory ]] || mkdir -p "$directory"
        echo "$directory"
}

# spawn [--ready PATTERN] NAME COMMAND...: COMMAND may begin with in_host, as_user... With a pattern (grep -E)
# it returns when the output has it, and fails when the process ends before, or in 10 s.
spawn() {
        local ready='' name directory
        [[ $1 == --ready ]] && ready=$2 && shift 2
        name=$1
        shift
        directory=$(spawn_directory_)
        # The output is empty from here on, not only once the child has opened it: a process of that name that came before
        # would answer for this one. It keeps the file it writes to, if it still does.
        rm -f "$directory/$name.log"
        : >"$directory/$name.log"
        # Functions that enter a world exec in place of this shell: $! is then the process, or its nsenter.
        (
                enter_=exec
                [[ $(type -t "$1") == function ]] || exec "$@"
                "$@"
        ) >>"$directory/$name.log" 2>&1 </dev/null 3>&- 4>&- &
        echo "$! $(type -t "$1") $(pid_started_ "$!")" >"$directory/$name.pid"
        disown "$!" # else bash would report its end in the midst of a test's output
        [[ -n $ready ]] || return 0
        if ! eventually 10 spawn_ready_or_ended_ "$name" "$ready" >/dev/null ||
                ! spawn_ready_ "$name" "$ready"; then
                spawn_output "$name" >&2
                return 1
        fi
}

# Ends the wait when the process has ended, too.
spawn_ready_or_ended_() {
        spawn_ready_ "$@" || spawn_ended "$1"
}
spawn_ready_() {
        grep -qE -- "$2" "$(spawn_directory_)/$1.log"
}

# What it printed so far.
spawn_output() {
        cat "$(spawn_directory_)/$1.log"
}

# spawn_pid NAME: the pid of the process itself in the machine's own numbering, which is not that of a world.
spawn_pid() {
        local pid kind
        read -r pid kind _ <"$(spawn_directory_)/$1.pid"
        # A function of the harness becomes an nsenter, the parent of what runs in the other pid namespace.
        [[ $kind == function ]] && eventually 2 spawn_child_ "$pid" 2>/dev/null && return
        echo "$pid"
}
spawn_child_() {
        [[ $(cat "/proc/$1/comm") == nsenter ]] && pgrep -P "$1"
}

# pid_running_ PID: a zombie, which its parent has not noticed yet, has ended.
pid_running_() {
        local state
        state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [[ $state == [^ZX] ]]
}
pid_ended_() {
        ! pid_running_ "$1"
}
# pid_started_ PID: when, in ticks since the machine's start (proc(5)); nothing when there is no such process.
pid_started_() {
        local line fields
        { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
        read -ra fields <<<"${line##*) }"
        echo "${fields[19]}"
}

# Its record stays when it has ended, and its pid may be another's by now: a machine has 32768 of them and a few minutes of
# tests use that many.
spawn_running() {
        local pid started
        read -r pid _ started <"$(spawn_directory_)/$1.pid" && pid_running_ "$pid" &&
                [[ $(pid_started_ "$pid") == "$started" ]]
}
spawn_ended() {
        ! spawn_running "$1"
}

# spawn_signal NAME SIGNAL: to the process itself.
spawn_signal() {
        kill "-$2" "$(spawn_pid "$1")"
}

# spawn_end NAME [SIGNAL]: signals it (TERM) and waits for its end; kills it after 2 s, and fails then.
spawn_end() {
        local name=$1
        spawn_running "$name" || return 0
        spawn_signal "$name" "${2:-TERM}" 2>/dev/null || true
        eventually 2 spawn_ended "$name" && return
        spawn_signal "$name" KILL || true
        eventually 2 spawn_ended "$name"
        return 1
}
