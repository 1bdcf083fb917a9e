# Leaks: a world's contents as lines of text, compared with those from when it was made.
#
# A line is a kind (process, interface, route, rule, nftables, mount, file) and what identifies the thing.

# Files that may stay in a runtime directory (grep -E): locks, logs, and the directories at the top.
LEAKS_ALLOWED=${LEAKS_ALLOWED:-'^file [^ ]*/berth(/networks)?$|^file [^ ]*/berth/[^/]*\.(lock|log)$'}

# Runs in the world. Addresses and routes that the kernel makes and times out by itself are not leaks.
world_list_() {
        in_host bash -c '
                ps -e -o pid=,ppid=,uid=,args= |
                        awk "\$1 != 1 && \$1 != $$ && \$2 != $$ { \$2 = \"\"; print \"process\", \$0 }"
                ip -o link | sed "s/^[0-9]*: \([^:@]*\).*/interface \1/"
                { ip -4 route show table all; ip -6 route show table all; } |
                        grep -vE "fe80::|ff00::|expires|^broadcast|^anycast|table local" | sed "s/^/route /"
                { ip -4 rule; ip -6 rule; } | sed "s/^/rule /"
                nft list ruleset | sed "s/^/nftables /"
                sed "s/ - .*//" /proc/self/mountinfo | cut -d " " -f 5 | sed "s/^/mount /"
                find /run /dev/net "$1"/user*/run -mindepth 1 2>/dev/null | sed "s/^/file /"
        ' bash "$WORLD" | sed 's/  */ /g; s/ $//' | grep -vE "$LEAKS_ALLOWED" | LC_ALL=C sort
}

# world_accept: takes what there is now as the state to which all must return (after a test has added rules,
# say).
world_accept() {
        world_list_ >"$WORLD/accepted"
}

# Prints what is new, and what is missing; succeeds when there is neither.
world_clean_() {
        local list difference
        list=$(world_list_)
        # A mount that is gone was the machine's, from before: the world has a copy of each, which goes with the original.
        difference=$(LC_ALL=C comm -3 "$WORLD/accepted" - <<<"$list" |
                sed '/^mount /d; s/^\t/  /; t; s/^/  missing: /')
        [[ -z $difference ]] || { printf '%s\n' "$difference" && return 1; }
}

# assert_nothing_left [SECONDS]: no process of Berth, dnsmasq or pasta that was not there before, and nothing
# in the network or in the runtime directories. Other processes (guests, servers) may go on. Waits for it, by
# default not.
assert_nothing_left() {
        eventually "${1:-0}" nothing_left_
}

nothing_left_() {
        local difference
        difference=$(world_clean_ | grep -vE '^ +(missing: )?process ' || true
                world_clean_ |
                        grep -E '^ +process +[0-9]+ +[0-9]+ ([^ ]*/)?(berth|vmhost|dnsmasq|pasta|passt)' || true)
        [[ -z $difference ]] || { printf '%s\n' "$difference" && return 1; }
}
