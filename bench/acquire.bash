# Warm acquire: the round trip on a live network, with nobody else about and in a crowd, in turns.

CROWD_CLIENTS=200 CROWD_INTERFACES=100

measure_acquire() {
        local round directory=$WORLD/acquire kind
        mkdir "$directory"
        broker_start system
        # Somebody holds the network throughout, and is one of the crowd later.
        spawn --ready ready holder instrument crowd "$SYSTEM_SOCKET" shared 1 1

        for ((round = 0; round < ROUNDS; round++)); do
                acquire_batch_ quiet
                crowd_start system shared "$((CROWD_CLIENTS - 1))" "$((CROWD_INTERFACES - 1))"
                acquire_batch_ crowd
                crowd_end
                interfaces_become system shared 1
        done
        spawn_end holder
        network_remove system shared
        broker_stop system

        for kind in quiet crowd; do
                local label="warm acquire"
                [[ $kind == quiet ]] || label+=", $CROWD_CLIENTS clients, $CROWD_INTERFACES interfaces"
                figure "acquire.$kind.p50" "$label: p50" µs "$([[ $kind == crowd ]] || echo '<=150')" <"$directory/$kind.p50"
                figure "acquire.$kind.p99" "$label: p99" µs "<1000" <"$directory/$kind.p99"
        done
        ratios "$directory/crowd.p50" "$directory/quiet.p50" |
                figure acquire.crowd.ratio "warm acquire: p50 in the crowd over p50 alone" ratio "<=2"
}

acquire_batch_() {
        instrument acquire "$SYSTEM_SOCKET" shared "$((QUICK ? 500 : 3000))" >"$directory/batch"
        quantile 0.5 <"$directory/batch" >>"$directory/$1.p50"
        quantile 0.99 <"$directory/batch" >>"$directory/$1.p99"
}
