# Guests: virtual machines with the test guest (tests/guest), spoken to over their serial console.
#
# What guest_start heeds:
#   GUEST_PREFIX     array: a command before the VMM's: (in_host), (as_user 1000 berth run --network shared --)
#   GUEST_ORDERS     a shell script that the guest runs as it boots (about 1200 bytes at most)
#   GUEST_CMDLINE    more words for its kernel, such as deaf=1
#   GUEST_MACHINE    the machine type and its options
#   GUEST_MEMORY     MiB
# GUEST_IMAGES is where the guest's files are, or are built.

GUEST_IMAGES=${GUEST_IMAGES:-$(cd "$harness_directory/../../.." && pwd)/build/guest}

# guest_build: makes the guest's files unless they are there. probe is the guest's network tool, usable on the
# host.
guest_build() {
        "$harness_directory/../../guest/build" "$GUEST_IMAGES"
}
probe=$GUEST_IMAGES/probe

# guest_directory NAME: its console (a socket), monitor (a socket), pid, and log (all that the console
# printed).
guest_directory() {
        echo "${WORLD:-${BATS_FILE_TMPDIR:?}}/guests/$1"
}

# KVM only where the processor has it: a /dev/kvm without it makes guests hang.
guest_accelerator_() {
        if grep -qwE 'vmx|svm' /proc/cpuinfo && [[ -w /dev/kvm ]]; then
                echo "-accel kvm -accel tcg"
        else
                echo "-accel tcg"
        fi
}

# guest_words NAME: the command line of its kernel.
guest_words() {
        local words
        # An emulated timer that is late, on a busy machine, is not a broken one: no_timer_check.
        words="console=ttyS0 quiet panic=-1 cryptomgr.notests nokaslr noreplace-smp mitigations=off no_timer_check"
        words+=" hostname=$1 ${GUEST_CMDLINE:-}"
        [[ -z ${GUEST_ORDERS:-} ]] || words+=" orders=$(base64 -w 0 <<<"$GUEST_ORDERS")"
        # COMMAND_LINE_SIZE of the kernel on x86: what is beyond it is cut off without a word.
        [[ ${#words} -lt 2048 ]] || { echo "too long for a kernel command line: $words" >&2 && return 1; }
        echo "$words"
}

# guest_start NAME [QEMU ARGUMENTS...]: returns at once. Fails when a guest of that name runs.
guest_start() {
        local name=$1 directory accelerator words server=server=on,wait=off
        shift
        directory=$(guest_directory "$name")
        if [[ -e $directory ]]; then
                guest_running "$name" && { echo "guest $name runs already" >&2 && return 1; }
                rm -rf "$directory"
        fi
        # The VMM may run as another user.
        mkdir -p "$directory" && chmod 0777 "$directory"

        words=$(guest_words "$name") || return
        read -ra accelerator < <(guest_accelerator_)

        spawn "guest-$name" "${GUEST_PREFIX[@]}" qemu-system-x86_64 -nodefaults -nographic -no-reboot \
                -M "${GUEST_MACHINE:-q35}" "${accelerator[@]}" -m "${GUEST_MEMORY:-160}" \
                -global virtio-net-pci.romfile= \
                -kernel "$GUEST_IMAGES/vmlinuz" -initrd "$GUEST_IMAGES/initramfs.gz" \
                -append "$words" -pidfile "$directory/pid" \
                -chardev "socket,id=console,path=$directory/console,$server,logfile=$directory/log" \
                -serial chardev:console \
                -chardev "socket,id=monitor,path=$directory/monitor,$server" -mon chardev=monitor "$@"
}

# guest_wait_ready NAME [SECONDS]: until its console takes commands. Prints the line with its uptime.
guest_wait_ready() {
        guest_wait_log "$1" 'berth-guest: ready' "${2:-60}"
}

# guest_wait_log NAME PATTERN [SECONDS]: until the console has printed it (grep -E); prints the line.
guest_wait_log() {
        if ! eventually "${3:-20}" guest_log_or_end_ "$1" "$2" || ! guest_log_has "$1" "$2" >/dev/null; then
                guest_dump "$1"
                return 1
        fi
}
guest_log_or_end_() {
        guest_log_has "$@" || guest_gone "$1"
}

# guest_log_has NAME PATTERN: prints the first match with the rest of its line, if the console has printed
# one.
guest_log_has() {
        local line
        # Whole lines only: QEMU writes a byte at a time. The line that is added ends one that is not complete, and goes.
        line=$({ cat "$(guest_directory "$1")/log" 2>/dev/null && echo; } | sed '$d' | grep -aoE -m 1 -- "$2.*") &&
                echo "${line%$'\r'}"
}

# guest_run [-t SECONDS] NAME COMMANDS: runs shell commands in the guest (tests/guest/functions.sh has its
# functions), prints what they print, and returns their status; 124 when they took longer than PATIENCE times
# SECONDS (20), 125 when the guest does not answer at all. guest_last NAME COMMANDS: the last that it is told, which ends it:
# returns when it has begun them.
guest_run() {
        local seconds=20 name id directory line begun=0 deadline remaining status=125 pending=0 last=0
        [[ $1 == -t ]] && seconds=$2 && shift 2
        [[ $1 == -l ]] && last=1 && shift
        name=$1 id=$SRANDOM seconds=$((seconds * PATIENCE))
        shift
        directory=$(guest_directory "$name")

        # The connection stays open until the answer is there: QEMU drops what it has not read when a peer
        # closes.
        local to from connection
        connection_open socat - "UNIX-CONNECT:$directory/console" 2>/dev/null
        connection_say "berth-run $id $seconds $(base64 -w 0 <<<"$*")"

        deadline=$(($(now_ms) + (seconds + 10) * 1000))
        while remaining=$((deadline - $(now_ms))) && ((remaining > 0)) &&
                IFS= read -r -t "$((remaining / 1000 + 1))" -u "$from" line 2>/dev/null; do
                if [[ $line == *"<<berth-begin $id>>" ]]; then
                        begun=1
                        ((last)) && status=0 && break
                elif [[ $line =~ ^"<<berth-end $id "([0-9]+)">>"$ ]]; then
                        status=${BASH_REMATCH[1]}
                        break
                elif ((begun)); then
                        # The newline before the end marker is the console's own, so each is printed with the
                        # next line.
                        ((pending)) && printf '\n'
                        printf '%s' "$line"
                        pending=1
                fi
        done
        connection_close
        if ((status >= 124 && status <= 125)); then
                echo "guest $name, status $status: $*" >&2
                guest_dump "$name"
        fi
        return "$status"
}
guest_last() {
        guest_run -l "$@"
}

# guest_monitor NAME COMMAND: a line for QEMU's monitor, such as `system_powerdown` (the power button) or
# `set_link`; prints what it says to it. Fails when QEMU does not come back to its prompt.
guest_monitor() {
        local text prompts=0 to from connection
        connection_open socat - "UNIX-CONNECT:$(guest_directory "$1")/monitor" 2>/dev/null
        while ((prompts < 2)) && IFS= read -r -d ')' -t $((10 * PATIENCE)) -u "$from" text 2>/dev/null; do
                [[ $text == *'(qemu' ]] || continue
                prompts=$((prompts + 1))
                ((prompts == 1)) && connection_say "$2"
        done
        connection_close
        # Without the echo before and the prompt behind.
        tr -d '\r' <<<"${text%(qemu}" | sed '1d; $d'
        ((prompts == 2))
}

# guest_pid NAME: of the VMM, as processes of its world see it.
guest_pid() {
        cat "$(guest_directory "$1")/pid"
}

guest_running() {
        spawn_running "guest-$1"
}
guest_gone() {
        spawn_ended "guest-$1"
}

# guest_stop NAME: pulls the plug, waits for the VMM's end, and removes its directory. guests_stop: all of
# them.
guest_stop() {
        spawn_end "guest-$1" && rm -rf "$(guest_directory "$1")"
}
guests_stop() {
        local directory status=0
        for directory in "$(guest_directory '')"*/; do
                [[ ! -d $directory ]] || guest_stop "$(basename "$directory")" || status=1
        done
        return "$status"
}

# guest_dump NAME: the end of its console and of what the VMM said, on standard error. guests_dump: all of
# them; for teardown, when the test failed.
guest_dump() {
        local directory
        directory=$(guest_directory "$1")
        {
                echo "--- guest $1, its VMM:"
                spawn_output "guest-$1" | tail -n 20
                echo "--- guest $1, its console:"
                tail -n 40 "$directory/log" | tr -d '\r\0'
                echo "---"
        } >&2 2>/dev/null
}
guests_dump() {
        local directory
        for directory in "$(guest_directory '')"*/; do
                [[ ! -d $directory ]] || guest_dump "$(basename "$directory")"
        done
}
