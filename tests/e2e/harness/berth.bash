# Berth's programs in a world, in either mode:
#
#   user     the broker of uid 1000, an ordinary user without any privilege
#   system   root's broker
#
# BERTH_BUILD is the build directory that they are taken from.

BERTH_BUILD=${BERTH_BUILD:-$(cd "$harness_directory/../../.." && pwd)/build}
BERTH_UID=1000

# berth_as MODE COMMAND...: in the host, as the user whose broker that is, with the programs in PATH.
berth_as() {
        local as
        case $1 in
        user) as=(as_user "$BERTH_UID") ;;
        system) as=(in_host) ;;
        *) echo "no mode: $1" >&2 && return 2 ;;
        esac
        shift
        "${as[@]}" env "PATH=$BERTH_BUILD/src/cli:$BERTH_BUILD/src/broker:$PATH" "$@"
}

# berth_runtime MODE, berth_definitions MODE: its directories; the second is made when it is not there. Visible in the
# world only, as those of system mode are.
berth_runtime() {
        case $1 in
        user) echo "$(user_directory "$BERTH_UID")/run/berth" ;;
        system) echo /run/berth ;;
        esac
}
berth_definitions() {
        local directory=/etc/berth/networks.d
        [[ $1 != user ]] || directory=$(user_directory "$BERTH_UID")/config/berth/networks.d
        berth_as "$1" mkdir -p "$directory" && echo "$directory"
}

# berth_define MODE NAME JSON: the file of a network. berth_undefine MODE NAME takes it away.
berth_define() {
        berth_as "$1" sh -ec 'printf "%s\n" "$2" >"$1.new" && mv "$1.new" "$1"' sh \
                "$(berth_definitions "$1")/$2.json" "$3"
}
berth_undefine() {
        berth_as "$1" rm "$(berth_definitions "$1")/$2.json"
}

# berth_broker MODE [OPTIONS...]: a broker with options of the test's own, as the process broker-MODE of spawn.bash.
# Without it the first command that needs a broker starts one.
berth_broker() {
        local mode=$1
        shift
        spawn --ready '^ready$' "broker-$mode" berth_as "$mode" \
                sh -c 'exec berthd --foreground --ready-fd 5 "$@" 5>&1' berthd "$@"
}

# berth_show MODE NETWORK: the network as `berth net show --json` prints it. The broker waits a second for what the network's
# process has to say and goes on without, which is asked again here. Fails where it is not live.
berth_show() {
        local shown deadline
        deadline=$(($(now_ms) + 10000 * PATIENCE))
        while shown=$(berth_as "$1" berth net show "$2" --json) || return; do
                [[ $shown == *'did not answer within a second'* ]] && (($(now_ms) < deadline)) || break
        done
        printf '%s\n' "$shown"
}

# berth_facts MODE NETWORK FILTER: what jq's filter makes of that. Fails also where it is false, null or nothing.
berth_facts() {
        local shown
        shown=$(berth_show "$1" "$2") && jq -ner "input | ($3)" <<<"$shown"
}

# berth_broker_pid MODE: in the world's numbering; nothing when none runs.
berth_broker_pid() {
        berth_as "$1" berth status --json | jq -r '.broker.pid // empty'
}

# berth_end MODE: removes the networks, which nobody may be using any more, and ends the broker.
berth_end() {
        local name pid status=0
        pid=$(berth_broker_pid "$1")
        [[ -n $pid ]] || return 0
        for name in $(berth_as "$1" berth net ls --json | jq -r '.networks[].name'); do
                # The broker hears of a client's end a little after whoever waited for the client.
                eventually 10 berth_removed_ "$1" "$name" || status=1
        done
        # It may have been idle for long enough to end by itself, as may a network.
        in_host kill "$pid" 2>/dev/null || true
        eventually 10 in_host sh -c '! kill -0 "$1" 2>/dev/null' sh "$pid" || status=1
        return "$status"
}

berth_removed_() {
        berth_as "$1" berth net remove "$2" ||
                berth_as "$1" berth net ls --json | jq -e --arg name "$2" 'all(.networks[]; .name != $name)' >/dev/null
}

# guest_on MODE NETWORKS NAME [QEMU ARGUMENTS...]: a guest MODE-NAME by `berth run`, called NAME on its networks.
# NETWORKS are values of --network separated by blanks; one without name= and id= gets the name.
guest_on() {
        local mode=$1 name=$3 network networks=()
        for network in $2; do
                [[ $network == *,name=* || $network == *,id=* ]] || network+=,name=$name
                networks+=(--network "$network")
        done
        shift 3
        local GUEST_PREFIX=(berth_as "$mode" berth run "${networks[@]}" --)
        guest_start "$mode-$name" "$@"
}

# guest_on_ready MODE NETWORKS NAME [QEMU ARGUMENTS...]: the same, and waits for it. guest_configure GUEST [DEVICE]: its
# addresses by DHCP and by router advertisement.
guest_on_ready() {
        guest_on "$@" && guest_wait_ready "$1-$3" >/dev/null
}
guest_configure() {
        guest_run -t 60 "$1" "dhcp ${2:-eth0} && ra ${2:-eth0}" >/dev/null
}

# servers_start: what guests are to reach, or not, on the host and outside; each answers with the address that it sees. They go
# on until the world ends.
servers_start() {
        spawn --ready listening host-server in_host "$probe" serve 8000 'host sees {peer}'
        spawn --ready listening outside-server in_outside "$probe" serve 8001 'outside sees {peer}'
}

# guests_teardown, guests_teardown_file: what bats calls in a file whose guests live through all of its tests. The world is to
# be left as it was accepted.
guests_teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || { guests_dump && berth_dump; }
}
guests_teardown_file() {
        local status=0
        guests_stop || status=1
        berth_end user || status=1
        berth_end system || status=1
        world_destroy || status=1
        return "$status"
}

# berth_dump: the brokers' logs on standard error; for teardown, when the test failed.
berth_dump() {
        {
                echo "--- the user's broker:"
                tail -n 60 "$(user_directory "$BERTH_UID")/run/berth/berthd.log"
                tail -n 60 "$(spawn_directory_)"/broker-*.log
        } >&2 2>/dev/null || true
}
