/* OOM: whether the kernel's memory killer ended a process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A process that the kernel ends for want of memory looks like any other that got SIGKILL. Three witnesses,
 * from the surest on: the kernel's log names the pid (for those who may read it); the count of kills in the
 * process's cgroup rose; the count of the whole machine rose within the last seconds. The latter two are
 * compared with counts taken while the process lived: call oom_look now and then. That of the machine says
 * something only while the last look is fresh: whatever else was killed since then counts too.
 */
#define OOM_FRESH 10000000U /* microseconds */

struct oom {
        pid_t pid;
        char cgroup[512]; /* path of the file that counts, "" where there is none */
        uint64_t cgroup_kills, machine_kills; /* as of the last look */
        uint64_t looked; /* loop_now of it */
};

void oom_begin(struct oom *oom, pid_t pid);
void oom_look(struct oom *oom);
/* For a process that has ended by SIGKILL. */
bool oom_was_killed(const struct oom *oom);
