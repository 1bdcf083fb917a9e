# The end-to-end harness for bats 1.8: `load harness/all`. One file per noun; each states its functions' contracts.
#
#   wait.bash    waiting with a deadline
#   world.bash   a host, its outside and its users in namespaces of their own
#   systemd.bash systemd as PID 1
#   spawn.bash   processes in the background
#   leaks.bash   what is left behind
#   connection.bash  a program to talk to, line by line
#   guest.bash   virtual machines
#   ask.bash     requests over a socket
#   berth.bash   the programs under test
#   client.bash  clients of libberth
#   packet.bash  packets to send
#   vm.bash      VMs of `berth vm`
#
# BERTH_TESTS_STRICT=1 turns skips, for want of something that the machine lacks, into failures.

harness_directory=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
for harness_file in wait spawn world systemd leaks connection guest ask berth client packet vm; do
        # shellcheck source=/dev/null
        source "$harness_directory/$harness_file.bash"
done
unset harness_file

# need COMMAND...: skips the test when the command fails, or fails it in strict mode.
need() {
        "$@" >/dev/null 2>&1 && return
        [[ ${BERTH_TESTS_STRICT:-0} == 1 ]] && echo "this machine cannot: $*" >&2 && return 1
        skip "this machine cannot: $*"
}
