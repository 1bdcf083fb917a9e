#!/bin/bash
# contrib/completion/berth: what is offered at each place. Argument: the completion's file.
set -u

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
# In place of the program, whose own test shows that it prints this.
cat >"$bin/berth" <<'END'
#!/bin/sh
case $* in
'net ls --names' | '--system net ls --names') printf 'shared\nhost\nlab\n' ;;
'vm ls --names' | '--system vm ls --names') printf 'web\ndb\n' ;;
esac
END
chmod +x "$bin/berth"
PATH=$bin:$PATH
# shellcheck disable=SC1090
source "$1"

# A program whose name no other begins with, and a file like it, to be completed behind ours.
cp "$bin/berth" "$bin/only-this-vmm"
touch "$bin/only-this-file"

# Expected words, " | ", then the line up to the cursor.
cases=(
        'net run status vm | berth '
        'net | berth n'
        '--help --system --version | berth -'
        'enter ls remove show | berth net '
        'show | berth net s'
        'host lab shared | berth net show '
        'lab | berth net remove l'
        'shared | berth --system net enter s'
        '--all --help --json --names --system | berth net ls -'
        '--help --json --system | berth status -'
        '-- --dry-run --help --network --system | berth run -'
        'host lab shared | berth run --network '
        'lab | berth run --network l'
        'shared,mac= shared,mtu= | berth run --network shared,m'
        # Behind "=" and ":" bash replaces only what follows.
        'web,id= web,isolated | berth run --network shared,name=web,i'
        '00,isolated | berth run --network shared,id=x,mac=02:00:00:00:00:00,i'
        '--dry-run | berth run --network shared --d'
        '--dry-run | berth run --network shared,name=web --d'
        'only-this-vmm | berth run -- only-this-v'
        'only-this-vmm | berth run only-this-v'
        'only-this-vmm | berth run --network shared,name=web -- only-this-v'
        'only-this-vmm | berth net enter shared -- only-this-v'
        "$bin/only-this-file | berth run -- cat $bin/only-this-f"
        "$bin/only-this-file | berth run cat --network $bin/only-this-f"
        ' | berth status '
        ' | berth net ls '
        'console cont create events exec kill logs ls restart rm run show ssh start stop wait | berth vm '
        'console cont create | berth vm c'
        'db web | berth vm start '
        'web | berth --system vm console w'
        ' | berth vm start web '
        '--help --json --system --timeout --wait | berth vm start -'
        'address running ssh started | berth vm start web --wait '
        'db web | berth vm start --wait ssh '
        'q35 | berth vm create web --machine q'
        'host lab shared | berth vm create web --network '
        'shared,mac= | berth vm create web --memory 1G --network shared,m'
        '--initrd | berth vm create web --kernel x --ini'
        "$bin/only-this-file | berth vm create web --image $bin/only-this-f"
        '--keep --kernel | berth vm run --ke'
        'db web | berth vm logs -n 5 '
        '--all --help --system -f -n | berth vm logs web -'
        'only-this-vmm | berth vm ssh web only-this-v'
        'only-this-vmm | berth vm exec --user root web -- only-this-v'
)

echo "1..${#cases[@]}"
n=0 failed=0
for entry in "${cases[@]}"; do
        n=$((n + 1))
        expected=${entry%% | *}
        line=${entry#* | }
        [ "${entry:0:3}" = ' | ' ] && expected='' line=${entry:3}
        COMP_LINE=$line COMP_POINT=${#line}
        _berth
        found=$(printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | paste -sd ' ')
        if [ "$found" = "$expected" ]; then
                echo "ok $n - $line"
        else
                failed=1
                echo "not ok $n - $line"
                echo "# expected: $expected"
                echo "# found:    $found"
        fi
done
exit $failed
