# Connections: a program whose standard input and output are at hand, line by line.

# connection_open COMMAND...: begins it, in a world where COMMAND begins with in_host, as_user... What it prints is read from
# $from, what is written to $to it reads; these and $connection, its pid, are the caller's, and local there.
connection_open() {
        coproc connection_ {
                enter_=exec
                [[ $(type -t "$1") == function ]] || exec "$@" 3>&- 4>&-
                "$@" 3>&- 4>&-
        }
        connection=$connection__PID
        # Copies: bash closes its own as soon as the program has ended, also with an answer in the pipe. Where it has ended
        # already there are none.
        { exec {from}<&"${connection_[0]}" {to}>&"${connection_[1]}"; } 2>/dev/null || true
}

# connection_say LINE: the program may have ended: then nobody answers, which the caller finds. By cat, which a closed pipe
# may kill in place of this shell.
connection_say() {
        { cat <<<"$1" 1>&"$to"; } 2>/dev/null || true
}

connection_close() {
        [[ -z $from ]] || exec {from}<&-
        [[ -z $to ]] || exec {to}>&-
        kill "$connection" 2>/dev/null || true
        wait "$connection" 2>/dev/null || true
}
