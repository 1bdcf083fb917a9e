# Clients of libberth that do what a test tells them, a command at a time (tests/e2e/client.c has the commands).

# client_start NAME MODE: a client of that mode's broker, which is started when it is not there.
client_start() {
        local fifo=$WORLD/client-$1
        rm -f "$fifo" && mkfifo "$fifo" && chmod 0666 "$fifo"
        echo 0 >"$fifo.number"
        # Opened for both directions, so that it has no end between two commands.
        spawn --ready connected "client-$1" berth_as "$2" sh -c 'exec "$1" <>"$2"' sh \
                "$BERTH_BUILD/tests/e2e/berth-client" "$fifo"
}

# client_tell NAME COMMAND...: prints the answer's facts; fails with `CODE MESSAGE` when the command failed.
client_tell() {
        local name=$1 fifo=$WORLD/client-$1 number answer
        shift
        number=$(($(cat "$fifo.number") + 1))
        echo "$number" >"$fifo.number"
        echo "$*" >"$fifo"
        answer=$(eventually "${CLIENT_SECONDS:-30}" client_answer_ "$name" "$number") || return 125
        answer=${answer#* }
        echo "${answer#* }"
        [[ $answer == ok* ]]
}
client_answer_() {
        spawn_output "client-$1" | grep -a -m 1 "^$2 "
}

# client_end NAME [SIGNAL]: all that it holds goes with it.
client_end() {
        spawn_end "client-$1" "${2:-KILL}" && rm -f "$WORLD/client-$1" "$WORLD/client-$1.number"
}
