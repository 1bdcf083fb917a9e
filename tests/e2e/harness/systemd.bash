# systemd: the real one as PID 1, with a D-Bus of its own, for what asks it for scopes.
#
# It runs in the world, in pid, mount and cgroup namespaces within the world's. Its cgroups are below one that is made
# for it in each hierarchy of the machine, version 1 or 2, whose own systemd, if there is one, is not touched.

# systemd_start: from then on in_host, as_user and all that builds on them act beside that systemd, until systemd_stop.
# Call it behind world_create, in the same shell. Exports SYSTEMD_CGROUP, the name of its cgroup, and SYSTEMD_OUTER.
systemd_start() {
        local directory lists=()
        SYSTEMD_CGROUP=berth-test-$$-$SRANDOM
        mapfile -t lists < <(systemd_lists_)
        for directory in $(systemd_directories_); do
                mkdir "$directory"
        done
        # The shell between joins the cgroups by the machine's own mounts, which are out of sight in the world.
        # shellcheck disable=SC2016 # for that shell
        spawn systemd bash -c 'set -e
                for directory in $1; do echo $$ >"$directory/cgroup.procs"; done
                exec nsenter "--mount=/proc/$2/ns/mnt" "--pid=/proc/$2/ns/pid_for_children" "--net=/proc/$2/ns/net" \
                        setpriv --pdeathsig KILL unshare --mount --pid --cgroup --ipc --fork --kill-child=KILL \
                        --propagation private --mount-proc "${@:3}"' \
                bash "$(systemd_directories_)" "$WORLD_HOST" "$harness_directory/systemd-holder" "$WORLD" "${lists[@]}"
        SYSTEMD_OUTER=$WORLD_HOST
        export SYSTEMD_CGROUP SYSTEMD_OUTER
        WORLD_HOST=$(eventually 10 systemd_holder_) && eventually 10 systemd_answers_ || {
                spawn_output systemd >&2
                return 1
        }
}

# systemd_user_start UID: that user's own manager, with a bus, in a cgroup that is delegated to it as far as the version
# of cgroups allows. It ends with the other.
systemd_user_start() {
        local home
        home=$(user_directory "$1")
        as_user "$1" true
        in_host systemd-run --quiet --unit="user-$1" --uid="$1" -p DefaultDependencies=no -p Delegate=yes \
                -E "SYSTEMD_UNIT_PATH=$WORLD/systemd/user-units" -E "SYSTEMD_GENERATOR_PATH=$WORLD/systemd/none" \
                -E "SYSTEMD_ENVIRONMENT_GENERATOR_PATH=$WORLD/systemd/none" -E "HOME=$home" -E "XDG_RUNTIME_DIR=$home/run" \
                /lib/systemd/systemd --user --unit=berth-test.target --log-target=null
        eventually 10 systemd_user_answers_ "$1"
}
systemd_user_answers_() {
        as_user "$1" busctl --user --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
                org.freedesktop.systemd1.Manager ListUnits 2>/dev/null
}
systemd_user_stop() {
        # Without most of its units it does not end by itself.
        in_host systemctl kill --signal=KILL "user-$1"
        eventually 10 systemd_user_gone_ "$1"
        in_host systemctl reset-failed "user-$1"
        in_host rm -rf "$(user_directory "$1")/run"/{bus,systemd,dbus-1}
}

systemd_user_gone_() {
        ! in_host systemctl is-active --quiet "user-$1"
}

# systemd_stop: ends it, with all that runs beside it, and takes its cgroups away.
systemd_stop() {
        [[ -n ${SYSTEMD_OUTER:-} ]] || return 0
        WORLD_HOST=$SYSTEMD_OUTER
        unset SYSTEMD_OUTER
        spawn_end systemd KILL
        eventually 10 systemd_remove_cgroups_
}

# systemd_directories_: that cgroup in the hierarchies that systemd uses. systemd_lists_: those of version 1, as their
# mount option.
systemd_directories_() {
        sed -nE 's/^[^-]* (\/sys\/fs\/cgroup[^ ]*) .* - (cgroup2 .*|cgroup .*(name=systemd|[, ](memory|cpu|cpuacct|pids)\b.*))$/\1/p' \
                /proc/self/mountinfo | sort -u | sed "s|\$|/$SYSTEMD_CGROUP|"
}
systemd_lists_() {
        sed -nE 's/^[0-9]+:((.*,)?(memory|cpu|cpuacct|pids|name=systemd)(,.*)?):.*/\1/p' /proc/self/cgroup
}

# The unshare that holds the namespaces: its child is systemd.
systemd_holder_() {
        local pid
        pid=$(pgrep -P "$(spawn_pid systemd)") && [[ $(cat "/proc/$pid/comm") == unshare ]] && pgrep -P "$pid" >/dev/null &&
                echo "$pid"
}
systemd_answers_() {
        in_host busctl --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
                org.freedesktop.systemd1.Manager ListUnits 2>/dev/null
}
systemd_remove_cgroups_() {
        local directory status=0
        for directory in $(systemd_directories_); do
                find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null
                [[ ! -e $directory ]] || status=1
        done
        return "$status"
}
