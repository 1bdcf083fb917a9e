# Worlds: a host, the outside and users, apart from the machine's own, so that tests touch nothing real and
# may run side by side.
#
#   HOST      network, mount and pid namespaces. /run is empty, /etc and /var/lib are private copies on
#             write, and /dev/net/tun is a node of its own that anyone may open. Addresses 203.0.113.2 and
#             2001:db8:113::2 on `uplink`, default routes through OUTSIDE.
#   OUTSIDE   a network namespace, 203.0.113.1 and 2001:db8:113::1, with 198.51.100.1 and 2001:db8:51::1
#             further away. It has no route back but to HOST's own addresses: what VMs send must have been
#             translated.
#
# Processes of a world see only each other, under pids of their own: `in_host pkill dnsmasq` harms no other
# test. The world ends with the process that called world_create, however that ends: call it in setup or
# setup_file itself, not by `run` or in a subshell.
#
# Exported: WORLD, a directory visible inside and outside; WORLD_HOST and WORLD_OUTSIDE, pids that hold the
# namespaces.

OUTSIDE4=203.0.113.1 OUTSIDE6=2001:db8:113::1
HOST4=203.0.113.2 HOST6=2001:db8:113::2
INTERNET4=198.51.100.1 INTERNET6=2001:db8:51::1

# world_possible: whether this machine and this user can make one.
world_possible() {
        [[ $EUID -eq 0 ]] && grep -qw overlay /proc/filesystems && unshare -m -n -p --fork --mount-proc true
}

# world_create [--no-tun]
world_create() {
        local tun=1
        [[ ${1:-} == --no-tun ]] && tun=0
        WORLD=$(mktemp -d "/tmp/berth-world.XXXXXX")
        chmod 0755 "$WORLD"
        mkfifo "$WORLD/ready"

        # The parent-death signal ends both holders with this shell, and --kill-child what is in the pid
        # namespace.
        setpriv --pdeathsig KILL unshare --net sleep infinity </dev/null >/dev/null 2>&1 3>&- 4>&- &
        WORLD_OUTSIDE=$!
        disown "$!"
        setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child=KILL --mount-proc \
                --propagation private "$harness_directory/world-holder" "$WORLD" "$tun" \
                </dev/null >"$WORLD/holder.log" 2>&1 3>&- 4>&- &
        WORLD_HOST=$!
        disown "$!"
        export WORLD WORLD_HOST WORLD_OUTSIDE

        local word
        if ! read -r -t $((10 * PATIENCE)) word <>"$WORLD/ready"; then
                cat "$WORLD/holder.log" >&2
                world_kill_
                return 1
        fi
        eventually 5 world_outside_exists_ && world_connect_ && world_accept
}

# The holder of OUTSIDE is a child that has yet to call unshare(2).
world_outside_exists_() {
        [[ $(readlink "/proc/$WORLD_OUTSIDE/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

world_connect_() {
        local host=(nsenter "--net=/proc/$WORLD_HOST/ns/net")
        local outside=(nsenter "--net=/proc/$WORLD_OUTSIDE/ns/net")
        "${host[@]}" ip link add uplink type veth peer name host netns "$WORLD_OUTSIDE"
        "${host[@]}" ip addr add "$HOST4/24" dev uplink
        "${host[@]}" ip addr add "$HOST6/64" dev uplink nodad
        "${host[@]}" ip link set uplink up
        "${outside[@]}" ip addr add "$OUTSIDE4/24" dev host
        "${outside[@]}" ip addr add "$OUTSIDE6/64" dev host nodad
        "${outside[@]}" ip addr add "$INTERNET4/32" dev lo
        "${outside[@]}" ip addr add "$INTERNET6/128" dev lo nodad
        "${outside[@]}" ip link set lo up
        "${outside[@]}" ip link set host up
        "${host[@]}" ip route add default via "$OUTSIDE4"
        "${host[@]}" ip -6 route add default via "$OUTSIDE6"
        # Not only up but seen to be up: until then the first packets are lost.
        eventually 5 world_connected_
}
world_connected_() {
        in_host ip -br link show dev uplink up | grep -qw UP &&
                in_outside ip -br link show dev host up | grep -qw UP
}

# world_enter_ PID COMMAND...: in the world, with the network namespace of PID. The command dies with its
# nsenter.
world_enter_() {
        local network=$1
        shift
        [[ -n ${WORLD:-} ]] || { echo "there is no world" >&2 && return 1; }
        ${enter_:-} nsenter "--mount=/proc/$WORLD_HOST/ns/mnt" "--pid=/proc/$WORLD_HOST/ns/pid_for_children" \
                "--net=/proc/$network/ns/net" "--cgroup=/proc/$WORLD_HOST/ns/cgroup" "--wdns=$PWD" -- setpriv --pdeathsig KILL "$@" 3>&- 4>&-
}

# in_host COMMAND..., in_outside COMMAND...: as root.
in_host() {
        world_enter_ "$WORLD_HOST" "$@"
}
in_outside() {
        world_enter_ "$WORLD_OUTSIDE" "$@"
}

# as_user UID COMMAND...: in the host, as an ordinary user without further groups and capabilities. HOME and
# the XDG directories are below user_directory UID.
as_user() {
        local uid=$1 home
        shift
        home=$(user_directory "$uid")
        [[ -d $home ]] || user_create_ "$uid" || return
        world_enter_ "$WORLD_HOST" setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all \
                --pdeathsig KILL env "HOME=$home" "USER=user$uid" "LOGNAME=user$uid" SHELL=/bin/sh \
                "XDG_RUNTIME_DIR=$home/run" "XDG_DATA_HOME=$home/data" "XDG_CONFIG_HOME=$home/config" \
                "XDG_CACHE_HOME=$home/cache" "$@"
}

user_directory() {
        echo "$WORLD/user$1"
}

# The world's own /etc/passwd learns the name, for policies that name users. A uid that the machine knows keeps its name.
# Several commands may begin as the same user at once: the directory is there when it is complete.
user_create_() {
        local uid=$1 home enter_= # the shell is still needed
        home=$(user_directory "$uid")
        (
                flock 9
                [[ ! -d $home ]] || exit 0
                rm -rf "$home.new"
                mkdir "$home.new" "$home.new"/{run,data,config,cache}
                chmod 0700 "$home.new" "$home.new/run"
                chown -R "$uid:$uid" "$home.new"
                in_host sh -c 'getent passwd "$1" >/dev/null || echo "user$1:x:$1:$1::$2:/bin/sh" >>/etc/passwd
                        getent group "$1" >/dev/null || echo "user$1:x:$1:" >>/etc/group' sh "$uid" "$home"
                mv "$home.new" "$home"
        ) 9>"$WORLD/users.lock"
}

# outside_dns [DNSMASQ ARGUMENTS...]: a name server at OUTSIDE4, where the host's resolv.conf points, that
# knows internet.test (the INTERNET addresses). Ended by `spawn_end outside-dns`.
outside_dns() {
        spawn --ready started outside-dns in_outside dnsmasq --keep-in-foreground --log-facility=- \
                --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --bind-interfaces "--listen-address=$OUTSIDE4" \
                "--address=/internet.test/$INTERNET4" "--address=/internet.test/$INTERNET6" "$@"
}

# world_destroy [--force]: removes the world. Unless forced, it fails with a list when something is there that
# was not when the world was made (or accepted, leaks.bash), after a few seconds' grace for what is about to
# end.
world_destroy() {
        local report='' status=0
        [[ -n ${WORLD:-} ]] || return 0
        if [[ ${1:-} != --force ]]; then
                report=$(eventually "${WORLD_GRACE:-3}" world_clean_ 2>/dev/null) || status=1
        fi
        world_kill_ || status=1
        [[ $status -eq 0 ]] || printf 'left behind in the world:\n%s\n' "$report" >&2
        return "$status"
}

world_kill_() {
        local pid directory=$WORLD remaining
        # The kernel lets PID 1 of a namespace end only after all others in it, and unshare only after PID 1.
        if pid=$(pgrep -P "$WORLD_HOST"); then
                kill -KILL "$pid"
        else
                kill -KILL "$WORLD_HOST" 2>/dev/null || true
        fi
        kill -KILL "$WORLD_OUTSIDE" 2>/dev/null || true
        eventually 10 pid_ended_ "$WORLD_HOST" && eventually 10 pid_ended_ "$WORLD_OUTSIDE" || return 1
        unset WORLD WORLD_HOST WORLD_OUTSIDE

        # Nothing of it may be mounted in the machine's own tree, else removing files would reach further than
        # meant.
        if remaining=$(grep -F " $directory" /proc/self/mountinfo); then
                printf 'mounted outside of the world:\n%s\n' "$remaining" >&2
                return 1
        fi
        rm -rf --one-file-system -- "$directory"
}
