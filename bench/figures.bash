# Figures: samples to a median with its quartiles, the target beside it; a table for people and JSON for programs.
#
# $figures_file has an object per line: key, label, unit, samples, median, low and high (the quartiles), target
# ({"relation","value"} or null), met (true, false or null); or key, label and left_out, the reason.

# figure KEY LABEL UNIT TARGET: of the samples on standard input, one a line. TARGET is "<=N", "<N", ">=N" or "".
figure() {
        jq -Rnc --arg key "$1" --arg text "$2" --arg unit "$3" --arg target "$4" '
                def quantile($q): ((length - 1) * $q) as $at | ($at | floor) as $i |
                        .[$i] + (if $i + 1 < length then (.[$i + 1] - .[$i]) * ($at - $i) else 0 end);
                [inputs | select(length > 0) | tonumber] | sort |
                if length == 0 then error("no samples of " + $key) else . end |
                quantile(0.5) as $median |
                (if $target == "" then null else
                        $target | capture("^(?<relation><=|>=|<)(?<value>.*)$") | .value |= tonumber end) as $t |
                { key: $key, label: $text, unit: $unit, samples: length,
                  median: $median, low: quantile(0.25), high: quantile(0.75), target: $t,
                  met: (if $t == null then null
                        elif $t.relation == "<=" then $median <= $t.value
                        elif $t.relation == "<" then $median < $t.value
                        else $median >= $t.value end) }' | tee -a "$figures_file" | figure_say_
}

# left_out KEY LABEL REASON: a figure that this machine cannot give.
left_out() {
        jq -nc --arg key "$1" --arg text "$2" --arg reason "$3" \
                '{ key: $key, label: $text, left_out: $reason }' | tee -a "$figures_file" | figure_say_
}

# What has just been found, while the rest is still to come.
figure_say_() {
        jq -r 'if .left_out then "  \(.label): left out, \(.left_out)"
                else "  \(.label): \(.median * 1000 | round / 1000) \(.unit)" end' >&2
}

# quantile Q: of the numbers on standard input; to make one sample of a batch.
quantile() {
        sort -n | awk -v q="$1" '{ v[NR] = $1 } END { if (!NR) exit 1; i = int(q * (NR - 1)) + 1; print v[i] }'
}

# ratios FILE FILE: the numbers of the first over those of the second, line by line.
ratios() {
        paste "$1" "$2" | awk '{ printf "%.4f\n", $1 / $2 }'
}

# figures_table: Markdown with its columns aligned.
figures_table() {
        jq -rs '
                def short: if . >= 100 then round elif . >= 10 then . * 10 | round / 10 else . * 100 | round / 100 end;
                def precise: . * 1000 | round / 1000;
                def show($unit): if $unit == "ratio" then precise else short end | tostring;
                def pad($to): . + " " * ($to - length) // .;
                [["figure", "median", "quartiles", "unit", "target", "met"]] +
                map([.label] + if .left_out then ["left out", "", "", "", ""] else . as $f |
                        [(.median | show($f.unit)), "\(.low | show($f.unit)) to \(.high | show($f.unit))", .unit,
                         (if .target then "\(.target.relation) \(.target.value)" else "" end),
                         (if .met == null then "" elif .met then "yes" else "NO" end)] end) |
                (transpose | map(map(length) | max)) as $widths |
                .[:1] + [$widths | map("-" * .)] + .[1:] | .[] |
                "| " + ([., $widths] | transpose | map(. as [$cell, $width] | $cell | pad($width)) | join(" | ")) + " |"
        ' "$figures_file"
        jq -r 'select(.left_out) | "\n\(.label): left out, \(.left_out)."' "$figures_file"
}

# figures_json FILE: all of it, with the machine it was measured on.
figures_json() {
        machine_describe | jq --slurpfile figures "$figures_file" '{ machine: ., figures: $figures }' >"$1"
}

# figures_missed: how many targets were.
figures_missed() {
        jq -s 'map(select(.met == false)) | length' "$figures_file"
}

# machine_describe: as JSON. The load is that before the run, which sets $machine_load.
machine_describe() {
        jq -n --arg processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
                --arg kernel "$(uname -r | cut -d - -f 1)" --arg system "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" \
                --arg date "$(date -u +%Y-%m-%d)" --argjson load "$machine_load" --argjson cores "$(nproc)" \
                --argjson memory "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1024 / 1024 }' /proc/meminfo)" \
                --arg virtual "$(grep -qw hypervisor /proc/cpuinfo && echo yes || echo no)" \
                '{ processor: $processor, cores: $cores, memory_gib: $memory, virtual: ($virtual == "yes"),
                   system: $system, kernel: $kernel, date: $date, load_before: $load }'
}

# figures_readme FILE: puts the table and the machine between FILE's two marks.
figures_readme() {
        local text new
        text=$(machine_describe | jq -r '"Measured on \(.date): \(.processor), \(.cores) cores, \(.memory_gib) GiB" +
                (if .virtual then ", itself a virtual machine" else "" end) +
                "; \(.system), Linux \(.kernel); load \(.load_before) before the run."'
                echo
                figures_table)
        new=$(TEXT=$text awk '
                /^<!-- end of the table -->$/ { inside = 0 }
                !inside { print }
                /^<!-- the table -->$/ { inside = 1; print ENVIRON["TEXT"] }' "$1")
        printf '%s\n' "$new" >"$1"
}
