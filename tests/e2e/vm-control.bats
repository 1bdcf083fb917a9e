#!/usr/bin/env bats
# The control socket of a vmhost, byte by byte, with a real guest behind it; and clients that mean no good.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        guest_build
        world_create
        world_accept
        GUEST_CMDLINE=deaf=1 vm_create user web --no-network
        vm user start web
        vm_wait_ready user web
}

teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || vms_dump
}

teardown_file() {
        vms_rm
        assert_nothing_left 10
        world_destroy --force
}

# say TEXT: sends exactly these bytes (as printf makes them), half-closes, and prints what comes until the end.
say() {
        printf "$1" | in_host socat -t 30 - "UNIX-CONNECT:$(vm_directory user web)/vmhost.sock"
}
# says TEXT REPLY: the whole reply, with the newline that ends it; REPLY is as printf makes it.
says() {
        diff <(say "$1" | od -An -c) <(printf "$2" | od -An -c)
}
# begins TEXT REPLY: the same for the beginning of the reply, which is one line.
begins() {
        local reply
        reply=$(say "$1")
        [[ $reply == "$2"* && $reply != *$'\n'* ]] || { printf '%s\n' "$reply" && return 1; }
}

@test "status and info: the fields of the contract first and in its order" {
        begins '{"method":"status"}\n' '{"ok":true,"state":"running","phase":"'
        begins '{"method":"info"}\n' '{"ok":true,"state":"running","backend":"qemu","phase":"'
        say '{"method":"status"}' | jq -e '.pid > 0 and .uptime_ms > 0'
}

@test "a request needs no newline, and its client need not close; one is answered, and that is all" {
        begins '{"method":"status"}' '{"ok":true,"state":"running"'
        begins '{"method":"status"}\n{"method":"force_stop"}\n' '{"ok":true,"state":"running"'
        begins ' \t\r\n {"method":"status"} trailing' '{"ok":true,"state":"running"'
        [ "$(ask "$(vm_directory user web)/vmhost.sock" '{"method":"status"}' | jq -r .state)" = running ]
}

@test "keys in any letter case, the last of several, unknown ones" {
        begins '{"METHOD":"status"}' '{"ok":true,"state":"running"'
        begins '{"method":"force_stop","Method":"status"}' '{"ok":true,"state":"running"'
        begins '{"colour":[1,{"a":null}],"method":"status","timeout_seconds":7}' '{"ok":true,"state":"running"'
        begins '{"method":"st\\u0061tus"}' '{"ok":true,"state":"running"'
}

@test "unknown methods, with the escapes of the contract" {
        says '{}' '{"ok":false,"error":"unknown method: "}\n'
        says 'null\n' '{"ok":false,"error":"unknown method: "}\n'
        says '{"method":null}' '{"ok":false,"error":"unknown method: "}\n'
        says '{"method":""}' '{"ok":false,"error":"unknown method: "}\n'
        says '{"method":"Status"}' '{"ok":false,"error":"unknown method: Status"}\n'
        says '{"method":"<a>&\xe2\x80\xa8"}' '{"ok":false,"error":"unknown method: \\u003ca\\u003e\\u0026\\u2028"}\n'
        says '{"method":"a\xffb"}' '{"ok":false,"error":"unknown method: a\xef\xbf\xbdb"}\n'
        says '{"method":"a\\"b\\\\"}' '{"ok":false,"error":"unknown method: a\\"b\\\\"}\n'
}

@test "input that is none" {
        says '' '{"ok":false,"error":"invalid request: EOF"}\n'
        says ' \n' '{"ok":false,"error":"invalid request: EOF"}\n'
        says '{"method":"status"' '{"ok":false,"error":"invalid request: unexpected EOF"}\n'
        says '{"method":"sta' '{"ok":false,"error":"invalid request: unexpected EOF"}\n'
        begins 'status\n' '{"ok":false,"error":"invalid request: '
        begins '[]' '{"ok":false,"error":"invalid request: '
        begins '{"method":7}' '{"ok":false,"error":"invalid request: '
        begins '{"method":"stop","timeout_seconds":"soon"}' '{"ok":false,"error":"invalid request: '
        begins '{"method":"stop","timeout_seconds":1.5}' '{"ok":false,"error":"invalid request: '
        begins '\x00\x01\x02' '{"ok":false,"error":"invalid request: '
        # None of which did anything.
        vm_fact user web '.state == "running" and (has("stop") | not)'
}

@test "a request without end is not taken" {
        reply=$(in_host sh -c '{ printf "{\"method\":\""; yes a | head -c 300000; } | socat -t 5 - "UNIX-CONNECT:$1"' \
                sh "$(vm_directory user web)/vmhost.sock" 2>/dev/null || true)
        [[ -z $reply || $reply == '{"ok":false,"error":"invalid request: '* ]]
        vm_fact user web '.state == "running"'
}

@test "nobody but its user" {
        run as_user 1234 socat -u - "UNIX-CONNECT:$(vm_directory user web)/vmhost.sock"
        [ "$status" -ne 0 ]
        [[ $output == *"Permission denied"* ]]
}

@test "show: all of it" {
        say '{"method":"show"}' | jq -e '.ok and .name == "web" and .vmhost_pid > 0 and .wanted == "running" and
                .restart.policy == "no" and .networks == [] and .forwards == [] and .accelerator and
                (.confinement | type == "string") and .last_end == null'
}

@test "events: where it stands, then what happens" {
        printf '{"method":"events"}\n' >"$BATS_TEST_TMPDIR/ask"
        spawn --ready '}$' follower in_host socat "OPEN:$BATS_TEST_TMPDIR/ask,rdonly,ignoreeof!!STDOUT" \
                "UNIX-CONNECT:$(vm_directory user web)/vmhost.sock"
        spawn_output follower | head -n 1 | jq -e '.event == "phase" and .at > 1600000000000'
        spawn_end follower
}

@test "a thousand clients that stall: everybody else is answered, and nothing of them stays" {
        fds=$(fds_)
        spawn --ready staying stalling in_host prlimit --nofile=4096 "$BERTH_BUILD/tests/e2e/berth-rude" stall \
                "$(vm_directory user web)/vmhost.sock" 1000
        for i in 1 2 3 4 5 6 7 8 9 10; do
                begins '{"method":"status"}' '{"ok":true,"state":"running"'
        done
        vm_list user | jq -e '.[0].state == "running"'
        # Of those that wait, follow and stall no more than the limits.
        [ "$(fds_)" -le $((fds + 128)) ]
        [ "$(in_host awk '/^VmRSS/ { print $2 }' "/proc/$(vm_host user web)/status")" -lt 16384 ]
        vm_fact user web '.state == "running"'
        spawn_end stalling || true
        eventually 5 eval '[[ $(fds_) -le '"$fds"' ]]'
}
fds_() {
        in_host ls "/proc/$(vm_host user web)/fd" | wc -l
}

@test "stop and force_stop: at once, each time, and the end is told to those who wait" {
        spawn waiter berth_as user berth vm wait --json web
        says '{"method":"stop","timeout_seconds":600}' '{"ok":true,"state":"stopping"}\n'
        says '{"method":"stop","timeout_seconds":-3}\n' '{"ok":true,"state":"stopping"}\n'
        begins '{"method":"status"}' '{"ok":true,"state":"running","phase":"stopping"'
        says '{"method":"force_stop"}' '{"ok":true,"state":"stopping"}\n'
        eventually 10 spawn_ended waiter
        spawn_output waiter | jq -e '.by == "host" and (.stage | test("^(quit|sigterm|sigkill)$"))' # as fast as QEMU is
        run in_host ls "$(vm_directory user web)/vmhost.sock" "$(vm_directory user web)/vmhost.pid"
        [ "$status" -ne 0 ]
}
