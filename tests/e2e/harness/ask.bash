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

        local to from connection
        connection_open "${as[@]}" socat - "UNIX-CONNECT:$socket"
        for line; do
                connection_say "$line"
                if ! IFS= read -r -t "$((${ASK_SECONDS:-10} * PATIENCE))" -u "$from" reply 2>/dev/null; then
                        echo "no reply from $socket to: ${line:0:200}" >&2
                        status=1
                        break
                fi
                printf '%s\n' "$reply"
        done
        connection_close
        return "$status"
}
