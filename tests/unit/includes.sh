#!/bin/sh
# Arrows point down: which directory of src/ may include which. And each header compiles on its own.
# Usage: includes.sh SOURCE_ROOT COMPILER...
set -u
cd "$1" || exit 1
shift

n=0
failed=0
report() { # report OK|FAILED NAME [DETAIL]
        n=$((n + 1))
        if [ "$1" = ok ]; then
                echo "ok $n - $2"
        else
                failed=1
                echo "not ok $n - $2"
                printf '%s\n' "${3:-}" | sed 's/^/# /'
        fi
}

# What a directory may include besides itself and the system.
allowed() {
        case $1 in
        base) echo ;;
        loop | wire) echo base ;;
        lib) echo base wire berth ;;
        cli | vmhost) echo base loop wire berth ;;
        *) echo base loop wire ;;
        esac
}

for directory in src/*/; do
        part=$(basename "$directory")
        bad=
        # shellcheck disable=SC2044,SC2013 # no name of ours has a blank
        for file in $(find "$directory" -name '*.[ch]'); do
                for target in $(sed -n 's/^ *# *include *["<]\([^">]*\)[">].*/\1/p' "$file"); do
                        top=${target%%/*}
                        # Only our own directories are of interest; ../ would get round them.
                        case $target in
                        ../* | */../*) bad="$bad$file includes $target; " ;;
                        esac
                        [ -d "src/$top" ] || [ "$top" = berth ] || continue
                        [ "$target" != "$top" ] || continue
                        case " $part $(allowed "$part") " in
                        *" $top "*) ;;
                        *) bad="$bad$file includes $target; " ;;
                        esac
                done
        done
        if [ -z "$bad" ]; then report ok "arrows of $part"; else report failed "arrows of $part" "$bad"; fi
done

flags="-std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Isrc -Iinclude -x c"
flags="$flags $(pkg-config --cflags jansson libnl-3.0 libnl-route-3.0 libnftables)"
for header in $(find src include -name '*.h' 2>/dev/null | sort); do
        # shellcheck disable=SC2086 # flags are words
        if output=$(printf '#include "%s"\n' "${header#*/}" | "$@" $flags - 2>&1); then
                report ok "$header alone"
        else
                report failed "$header alone" "$output"
        fi
done

echo "1..$n"
exit $failed
