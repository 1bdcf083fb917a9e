# Proportional memory (Pss, proc(5)) after use: with one interface, and with a hundred.

measure_memory() {
        local mode count round directory=$WORLD/memory
        mkdir "$directory"
        for mode in system user; do
                for ((round = 0; round < (ROUNDS + 1) / 2; round++)); do
                        broker_start "$mode"
                        for count in 1 100; do
                                memory_sample_ "$mode" "$count"
                        done
                        network_remove "$mode" shared
                        broker_stop "$mode"
                done
                for count in 1 100; do
                        local with="$mode mode, $count interface$([[ $count == 1 ]] || echo s)"
                        figure "memory.berthd.$mode.$count" "berthd, $with" MiB "<=2" <"$directory/berthd.$mode.$count"
                        figure "memory.berth-network.$mode.$count" "berth-network, $with" MiB "<=3" \
                                <"$directory/network.$mode.$count"
                        figure "memory.children.$mode.$count" "its children, $with" MiB "" \
                                <"$directory/children.$mode.$count"
                done
        done
}

# The crowd comes and goes once before it is counted, with some acquires, so that nothing is as fresh as at the start.
memory_sample_() {
        local mode=$1 count=$2 pid child socket
        socket=$(broker_socket "$mode")
        crowd_start "$mode" shared 1 "$count"
        crowd_end
        interfaces_become "$mode" shared 0
        crowd_start "$mode" shared 1 "$count"
        as_mode "$mode" "$programs/bench/acquire" "$socket" shared 300 >/dev/null
        interfaces_become "$mode" shared "$count"
        pid=$(network_pid "$mode" shared)
        memory_of_ "$(in_host pgrep -x -f "$programs/src/broker/berthd --$mode .*")" >>"$directory/berthd.$mode.$count"
        memory_of_ "$pid" >>"$directory/network.$mode.$count"
        for child in $(in_host pgrep -P "$pid"); do
                memory_of_ "$child"
        done | awk '{ sum += $1 } END { print sum + 0 }' >>"$directory/children.$mode.$count"
        crowd_end
        interfaces_become "$mode" shared 0
}

# memory_of_ PID: MiB.
memory_of_() {
        in_host awk '/^Pss:/ { printf "%.3f\n", $2 / 1024 }' "/proc/$1/smaps_rollup"
}
