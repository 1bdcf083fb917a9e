# Requests: JSON lines over a Unix socket, as any shell script could send them.

# ask [-u UID] SOCKET LINE...: sends the lines over one connection, each after the reply to the one before,
# and prints the replies. In the world where there is one, as root or as that user. Fails when a reply does
# not come within PATIENCE times ${ASK_SECONDS:-10}. File descriptors that come with a reply are closed by the
# kernel, for socat does not take them.
ask() {
        local as=() socket line reply status=0
        [[ -z ${WORLD:-} ]] || as=(in_host)
        [[ $1 == -u ]] && as=(as_user "$2") && shift 2
        socket=$1
        shift

        local to from pid
        coproc ask_connection_ { enter_=exec; "${as[@]}" socat - "UNIX-CONNECT:$socket" 3>&- 4>&-; }
        pid=$ask_connection__PID
        # Copies: bash closes its own as soon as socat has ended, also with a reply in the pipe. Without a socat there is none.
        { exec {from}<&"${ask_connection_[0]}" {to}>&"${ask_connection_[1]}"; } 2>/dev/null || true
        for line; do
                # The connection may be gone: then there is no reply, which is what is reported.
                # By cat, which a closed pipe may kill in place of this shell.
                { cat <<<"$line" 1>&"$to"; } 2>/dev/null || true
                if ! IFS= read -r -t "$((${ASK_SECONDS:-10} * PATIENCE))" -u "$from" reply 2>/dev/null; then
                        echo "no reply from $socket to: ${line:0:200}" >&2
                        status=1
                        break
                fi
                printf '%s\n' "$reply"
        done
        [[ -z $from ]] || exec {from}<&-
        [[ -z $to ]] || exec {to}>&-
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        return "$status"
}
