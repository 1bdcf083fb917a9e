# The supervisor: what it costs to ask vmhost, what it holds, and what it adds to a start of QEMU.

SUPERVISOR_VMS=50

# berth_in MODE ARGUMENTS...: the programs under measurement, on VMs of that mode.
berth_in() {
        local mode=$1
        shift
        as_mode "$mode" "$programs/src/cli/berth" "$@"
}
# vm_folder MODE NAME: as processes of the world see it.
vm_folder() {
        case $1 in
        system) echo "/var/lib/berth/vms/$2" ;;
        user) echo "$(user_directory "$USER_UID")/data/berth/vms/$2" ;;
        esac
}
# machine_create MODE NAME [OPTIONS...]: one that boots the test guest.
machine_create() {
        local mode=$1 name=$2
        shift 2
        berth_in "$mode" vm create --kernel "$GUEST_IMAGES/vmlinuz" --initrd "$GUEST_IMAGES/initramfs.gz" \
                --command-line "$(guest_words "$name")" --memory 160M "$@" "$name" >/dev/null
}

measure_supervisor() {
        local mode directory=$WORLD/supervisor
        mkdir "$directory"
        guest_build
        firmware_make_ "$directory/first.rom"
        broker_start system
        broker_start user
        supervisor_ask_
        supervisor_list_
        # A network that is there already, as it is for all but the first VM.
        spawn --ready ready holder instrument crowd "$SYSTEM_SOCKET" shared 1 1
        supervisor_start_
        supervisor_ready_
        spawn_end holder
        network_remove system shared
        broker_stop system
        broker_stop user
}

# The running VM's `status`, and the same sockets with nobody behind them, in turns; then its memory, of a fresh vmhost each
# time.
supervisor_ask_() {
        local round mode count=$((QUICK ? 500 : 3000)) peer=$WORLD/peer.sock
        machine_create system web
        berth_in system vm start web >/dev/null
        spawn --ready ready peer instrument ask --serve "$peer" $'{"ok":true,"state":"running"}\n'
        for ((round = 0; round < ROUNDS; round++)); do
                ((round % 2)) && supervisor_batch_ "$peer" peer
                supervisor_batch_ "$(vm_folder system web)/vmhost.sock" status
                ((round % 2)) || supervisor_batch_ "$peer" peer
        done
        spawn_end peer
        figure supervisor.status.p50 "status of a running VM: p50" µs "<=50" <"$directory/status.p50"
        figure supervisor.status.p99 "status of a running VM: p99" µs "<300" <"$directory/status.p99"
        ratios "$directory/status.p50" "$directory/peer.p50" |
                figure supervisor.status.ratio "status over an answer from nobody: p50" ratio ""

        machine_create user web
        for ((round = 0; round < (ROUNDS + 1) / 2; round++)); do
                for mode in system user; do
                        berth_in "$mode" vm kill web >/dev/null
                        berth_in "$mode" vm start web >/dev/null
                        berth_in "$mode" vm show web >/dev/null
                        memory_of_ "$(in_host cat "$(vm_folder "$mode" web)/vmhost.pid")" >>"$directory/memory.$mode"
                done
        done
        for mode in system user; do
                figure "supervisor.memory.$mode" "vmhost, with a running VM on a network, $mode mode" MiB "<=1" \
                        <"$directory/memory.$mode"
                berth_in "$mode" vm rm --force web >/dev/null
        done
}
supervisor_batch_() {
        instrument ask "$1" "$count" '{"method":"status"}' >"$directory/batch"
        quantile 0.5 <"$directory/batch" >>"$directory/$2.p50"
        quantile 0.99 <"$directory/batch" >>"$directory/$2.p99"
}

# A folder of VMs without a QEMU, one of which is stopped as by a debugger.
supervisor_list_() {
        local i frozen folder=$directory/many
        for ((i = 0; i < SUPERVISOR_VMS; i++)); do
                mkdir -p "$folder/vms/vm$i"
                in_host "$programs/src/vmhost/vmhost" --name "vm$i" --backend fake --config-dir "$folder"
        done
        frozen=$(in_host cat "$folder/vms/vm7/vmhost.pid")
        in_host kill -STOP "$frozen"
        # shellcheck source=/dev/null disable=SC2016 # for the shell in the world
        in_host env BERTH_CONFIG_DIR="$folder" bash -c '
                set -e
                for ((i = 0; i < $2; i++)); do
                        begin=${EPOCHREALTIME/./}
                        "$1" vm ls --json >>"$3"
                        echo $((${EPOCHREALTIME/./} - begin)) | sed "s/...\$/.&/"
                done' bash "$programs/src/cli/berth" $((ROUNDS * 3)) "$directory/list" >"$directory/list.ms"
        jq -es --argjson n "$SUPERVISOR_VMS" \
                'length > 0 and all(.[]; length == $n and (map(select(.state == "running")) | length == $n - 1))' \
                "$directory/list" >/dev/null
        figure supervisor.list "vm ls --json, $SUPERVISOR_VMS VMs, one of them frozen" ms "<=100" <"$directory/list.ms"
        in_host kill -CONT "$frozen"
        in_host pkill -TERM -x vmhost
        eventually 10 supervisor_alone_ >/dev/null
}

supervisor_alone_() {
        ! in_host pgrep -x vmhost
}

# firmware_make_ FILE: 64 KiB in the place of a BIOS whose first instructions print "first" at the serial port.
firmware_make_() {
        local i text='first' code=''
        for ((i = 0; i < ${#text}; i++)); do
                code+=$(printf '\\xb0\\x%02x' "'${text:i:1}")'\xba\xf8\x03\xee' # mov al, CHARACTER; mov dx, 0x3f8; out dx, al
        done
        code+='\xf4\xeb\xfd' # hlt; jmp back
        truncate -s 65536 "$1"
        printf '%b' "$code" | dd of="$1" conv=notrunc status=none
        # Where a processor begins: jmp f000:0000.
        printf '\xea\x00\x00\x00\xf0' | dd of="$1" bs=1 seek=$((0xfff0)) conv=notrunc status=none
}

# `berth vm start` to the first instruction, and the same command line of QEMU by hand, in turns. Where the other had
# file descriptors, by hand it has a tap that is there already and paths.
supervisor_start_() {
        local round kind mode words
        spawn --ready ready holder-user as_mode user "$programs/bench/crowd" "$(broker_socket user)" shared 1 1
        in_host ip tuntap add dev byhand mode tap vnet_hdr
        in_host ip link set byhand up
        for mode in system user; do
                machine_create "$mode" web --firmware "$directory/first.rom"
        done
        chmod 0644 "$directory/first.rom"
        berth_in system vm start web >/dev/null
        mapfile -d '' -t words < <(in_host cat "/proc/$(berth_in system vm show --json web | jq .pid)/cmdline")
        berth_in system vm kill web >/dev/null
        supervisor_by_hand_
        for ((round = 0; round < ROUNDS; round++)); do
                for kind in $( ((round % 2)) && echo hand user system || echo system user hand); do
                        "supervisor_first_$kind"
                done
        done
        figure supervisor.start.hand "QEMU by hand to the first instruction" ms "" <"$directory/start.hand"
        for mode in system user; do
                figure "supervisor.start.$mode" "berth vm start to the first instruction, $mode mode" ms "" \
                        <"$directory/start.$mode"
                paste "$directory/start.$mode" "$directory/start.hand" | awk '{ printf "%.2f\n", $1 - $2 }' |
                        figure "supervisor.start.$mode.more" "berth vm start: more than QEMU by hand, $mode mode" ms "<=60"
                berth_in "$mode" vm rm --force web >/dev/null
        done
        in_host ip link del byhand
        spawn_end holder-user
        network_remove user shared
}
supervisor_first_hand() {
        instrument until "$WORLD/byhand/console.log" first 20 "${words[@]}" >>"$directory/start.hand"
        in_host pkill -KILL -F "$WORLD/byhand/pid"
        eventually 10 supervisor_gone_ "$WORLD/byhand/pid" >/dev/null
}
supervisor_first_system() {
        supervisor_first_of_ system
}
supervisor_first_user() {
        supervisor_first_of_ user
}
supervisor_first_of_() {
        as_mode "$1" "$programs/bench/until" "$(vm_folder "$1" web)/console.log" first 20 \
                "$programs/src/cli/berth" vm start web >>"$directory/start.$1"
        # The command looks for more than the first instruction; the VM is up all the same.
        eventually 10 supervisor_up_ "$1" >/dev/null
        berth_in "$1" vm kill web >/dev/null
}
supervisor_up_() {
        berth_in "$1" vm ls --json | jq -e '.[0].pid > 0'
}
supervisor_gone_() {
        ! in_host pgrep -F "$1"
}
supervisor_by_hand_() {
        local i folder
        folder=$(vm_folder system web)
        mkdir "$WORLD/byhand"
        for i in "${!words[@]}"; do
                words[i]=${words[i]//"$folder"/$WORLD/byhand}
                words[i]=$(sed -E "s|^(socket,id=([a-z]+)),fd=[0-9]+|\1,path=$WORLD/byhand/\2.sock|
                        s|^(tap,id=[^,]*),.*|\1,ifname=byhand,script=no,downscript=no|" <<<"${words[i]}")
        done
        words+=(-pidfile "$WORLD/byhand/pid")
}

# From the start to the guest's ready line: microvm with direct boot, and q35 with SeaBIOS.
supervisor_ready_() {
        local round machine
        machine_create system microvm --machine microvm
        machine_create system q35 --firmware /usr/share/seabios/bios-256k.bin
        for ((round = 0; round < (ROUNDS + 1) / 2; round++)); do
                for machine in $( ((round % 2)) && echo q35 microvm || echo microvm q35); do
                        instrument until "$(vm_folder system "$machine")/console.log" 'berth-guest: ready' 60 \
                                "$programs/src/cli/berth" vm start "$machine" >>"$directory/ready.$machine"
                        berth_in system vm kill "$machine" >/dev/null
                done
        done
        figure supervisor.ready.microvm "start to the guest's ready line: microvm, direct boot" ms "" <"$directory/ready.microvm"
        figure supervisor.ready.q35 "start to the guest's ready line: q35, SeaBIOS" ms "" <"$directory/ready.q35"
        ratios "$directory/ready.microvm" "$directory/ready.q35" |
                figure supervisor.ready.ratio "start to the ready line: microvm over q35" ratio ""
        for machine in microvm q35; do
                berth_in system vm rm --force "$machine" >/dev/null
        done
}
