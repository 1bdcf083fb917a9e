# Packets as hexadecimal text, for `frame_send` in a guest: with right lengths and checksums, so that nothing but what a
# test forges is wrong with them. MACs and addresses are given as people write them.

packet_mac_() {
        printf '%s' "${1//:/}"
}
packet_ip4_() {
        # shellcheck disable=SC2046,SC2183 # four words
        printf '%02x%02x%02x%02x' $(tr . ' ' <<<"$1")
}

# packet_ip6 ADDRESS: its 32 digits.
packet_ip6() {
        local head=${1%%::*} tail='' group groups=() rest=()
        [[ $1 != *::* ]] || tail=${1##*::}
        IFS=: read -ra groups <<<"$head"
        IFS=: read -ra rest <<<"$tail"
        for group in "${groups[@]}"; do printf '%04x' "0x$group"; done
        [[ $1 != *::* ]] || printf "%0$(((8 - ${#groups[@]} - ${#rest[@]}) * 4))d" 0
        for group in "${rest[@]}"; do printf '%04x' "0x$group"; done
}

# packet_eui64 MAC: the link-local address made of it.
packet_eui64() {
        local a b c d e f
        IFS=: read -r a b c d e f <<<"$1"
        printf 'fe80::%x:%x:%x:%x' "0x$(printf %02x $((0x$a ^ 2)))$b" "0x${c}ff" "0xfe$d" "0x$e$f"
}

# The Internet checksum (RFC 1071) of an even number of bytes, or of an odd one and a zero.
packet_sum_() {
        local bytes=$1 sum=0 i
        ((${#bytes} % 4 == 0)) || bytes+=00
        for ((i = 0; i < ${#bytes}; i += 4)); do ((sum += 0x${bytes:i:4})); done
        while ((sum > 0xffff)); do ((sum = (sum & 0xffff) + (sum >> 16))); done
        printf '%04x' $((sum ^ 0xffff))
}

# packet_frame DESTINATION SOURCE TYPE PAYLOAD: with a type of four digits, such as 0800.
packet_frame() {
        printf '%s%s%s%s' "$(packet_mac_ "$1")" "$(packet_mac_ "$2")" "$3" "${4// /}"
}

# packet_udp4 SOURCE DESTINATION PORT PORT PAYLOAD: an IPv4 packet; its UDP checksum is left out, as it may be.
packet_udp4() {
        local payload=${5// /} header
        header=$(printf '4500%04x0000000040110000%s%s' $((28 + ${#payload} / 2)) \
                "$(packet_ip4_ "$1")" "$(packet_ip4_ "$2")")
        printf '%s%s%s%04x%04x%04x0000%s' "${header:0:20}" "$(packet_sum_ "$header")" "${header:24}" \
                "$3" "$4" $((8 + ${#payload} / 2)) "$payload"
}

# packet_ip6_payload_ SOURCE DESTINATION PROTOCOL PAYLOAD CHECKSUM_OFFSET: an IPv6 packet, its checksum (RFC 8200,
# section 8.1) set in the payload at that digit.
packet_ip6_payload_() {
        local source destination payload=$4 length sum
        source=$(packet_ip6 "$1") destination=$(packet_ip6 "$2") length=$((${#4} / 2))
        sum=$(packet_sum_ "$(printf '%s%s%08x%08x%s' "$source" "$destination" "$length" "$3" "$payload")")
        printf '60000000%04x%02xff%s%s%s%s%s' "$length" "$3" "$source" "$destination" "${payload:0:$5}" "$sum" \
                "${payload:$(($5 + 4))}"
}

# packet_udp6 SOURCE DESTINATION PORT PORT PAYLOAD
packet_udp6() {
        local payload=${5// /}
        payload=$(printf '%04x%04x%04x0000%s' "$3" "$4" $((8 + ${#payload} / 2)) "$payload")
        packet_ip6_payload_ "$1" "$2" 17 "$payload" 12
}

# packet_icmp6 SOURCE DESTINATION MESSAGE: the message with any checksum in its third and fourth bytes.
packet_icmp6() {
        local message=${3// /}
        packet_ip6_payload_ "$1" "$2" 58 "${message:0:4}0000${message:8}" 4
}
