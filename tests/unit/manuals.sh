#!/bin/sh
# The manuals are found: README.md names each, berth(1) the page of each group of commands. Usage: manuals.sh SOURCE_ROOT
set -u
cd "$1" || exit 1

n=0
failed=0
expect() { # expect NAME COMMAND...
        name=$1
        shift
        n=$((n + 1))
        if "$@" >/dev/null; then
                echo "ok $n - $name"
        else
                failed=1
                echo "not ok $n - $name"
        fi
}

for page in man/*.scd; do
        title=$(head -n 1 "$page")
        expect "README.md names $title" grep -qF "\`$title\`" README.md
done
expect "berth(1) names berth-vm(1)" grep -qF '*berth-vm*(1)' man/berth.1.scd
expect "berth(1) shows berth vm" grep -q '^\*berth\*.* \*vm\* ' man/berth.1.scd

echo "1..$n"
exit "$failed"
