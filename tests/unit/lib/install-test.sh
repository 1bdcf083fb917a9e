#!/bin/sh
# Installs into an empty directory and builds programs against what is there, as others will: with pkg-config, as C99
# and as C++, and no look at the source tree's headers. Arguments: the source tree, the build tree, the C compiler.
set -eu
source=$1 build=$2 cc=$3

# TAP: the plan, then a line for each check.
n=0
check() {
        name=$1
        shift
        n=$((n + 1))
        if output=$("$@" 2>&1); then
                echo "ok $n - $name"
        else
                echo "not ok $n - $name"
                echo "$output" | sed 's/^/# /'
        fi
}
skip() {
        n=$((n + 1))
        if [ "${BERTH_NO_SKIP:-}" = 1 ]; then
                echo "not ok $n - $1: $2"
        else
                echo "ok $n - $1 # SKIP $2"
        fi
}

# What the header declares, what the library exports, and what its map lists are the same functions.
same_symbols() {
        grep '^BERTH_API' "$header" | grep -o 'berth_[a-z0-9_]*(' | tr -d '(' | sort >"$tmp/declared"
        nm -D --defined-only "$library" | sed -n 's/.* T \(berth_[a-z0-9_]*\).*/\1/p' | sort >"$tmp/exported"
        nm -D --defined-only "$library" | grep ' [TDBR] ' | grep -v ' berth_' >&2 && return 1
        sed -n 's/^ *\(berth_[a-z0-9_]*\);$/\1/p' "$source/src/lib/libberth.map" | sort >"$tmp/mapped"
        diff "$tmp/declared" "$tmp/exported" && diff "$tmp/mapped" "$tmp/exported"
}

# shellcheck disable=SC2046,SC2086 # the words of flags and compilers are meant to part
compile() {
        output=$1
        shift
        "$@" $(pkg-config --cflags berth) -o "$output" $(pkg-config --libs berth)
}

# Where the programs look, as they are installed, is where the library is: the dynamic linker's cache knows nothing of it
# yet.
programs_find_library() {
        directory=$(dirname "$library")
        directory=${directory#"$tmp/root"}
        case $directory in /usr/lib | /usr/lib/*) return 0 ;; esac # where it looks anyway
        for program in berth vmhost; do
                readelf -d "$(find "$tmp/root" -path "*/bin/$program")" | grep -qF "runpath: [$directory]" && continue
                echo "$program does not look into $directory"
                return 1
        done
}

echo 1..7
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset LD_LIBRARY_PATH CFLAGS CXXFLAGS LDFLAGS
DESTDIR=$tmp/root meson install -C "$build" --no-rebuild --quiet >"$tmp/install.log" 2>&1 || {
        sed 's/^/# /' "$tmp/install.log"
        echo "Bail out! meson install failed"
        exit 1
}
header=$(find "$tmp/root" -name berth.h)
library=$(find "$tmp/root" -name libberth.so.0)
PKG_CONFIG_PATH=$(dirname "$(find "$tmp/root" -name berth.pc)")
PKG_CONFIG_SYSROOT_DIR=$tmp/root
LD_LIBRARY_PATH=$(dirname "$library")
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
warnings="-Wall -Wextra -Werror -pedantic"
# A library built with the sanitizers wants its programs built with them too.
if nm -D "$library" | grep -q __asan; then
        warnings="$warnings -fsanitize=address,undefined"
fi

check "the header, the library and its map agree" same_symbols
# shellcheck disable=SC2086
check "the example compiles as C99" compile "$tmp/acquire" $cc -std=c99 $warnings "$source/examples/acquire.c"
check "the example runs" "$tmp/acquire" --help
cxx=
for candidate in g++ clang++; do
        [ -z "$cxx" ] && command -v "$candidate" >/dev/null && cxx=$candidate
done
case "$cc" in *clang*) command -v clang++ >/dev/null && cxx=clang++ ;; esac
if [ -n "$cxx" ]; then
        # shellcheck disable=SC2086
        check "the header compiles as C++" compile "$tmp/cplusplus" $cxx -std=c++11 $warnings \
                "$source/tests/unit/lib/cplusplus.cpp"
        check "the C++ program runs" "$tmp/cplusplus"
else
        skip "the header compiles as C++" "no C++ compiler"
        skip "the C++ program runs" "no C++ compiler"
fi
check "the installed programs find the library" programs_find_library
check "the installed program runs" "$(find "$tmp/root" -path '*/bin/berth')" --version
