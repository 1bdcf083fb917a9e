#include "network/nftables.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

#define REASON_SIZE 320 /* of what nft says, which quotes what it was given at any length */

/* In the child: puts the text together, runs it, writes what went wrong, and gives the exit status. */
static int run_child(nftables_print_fn print, const void *data, int report) {
        char *text = NULL;
        size_t size = 0;
        struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
        FILE *f = open_memstream(&text, &size);

        if (!nft || !f || nft_ctx_buffer_error(nft) != 0 || nft_ctx_buffer_output(nft) != 0)
                return 1;
        print(f, nft, data);
        if (fclose(f) != 0)
                return 1;

        int r = nft_run_cmd_from_buffer(nft, text);
        const char *reason = r == 0 ? "" : nft_ctx_get_error_buffer(nft);
        /* No more than is read: it waits for our end then, and not for our words. */
        if (write(report, reason, strnlen(reason, REASON_SIZE - 1)) < 0)
                return 1;
        return r != 0;
}

int nftables_apply(int namespace, nftables_print_fn print, const void *data, struct error *error) {
        int pipe_fds[2];

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_errno(error, -errno, "making a pipe");
        _cleanup_fd_ int reader = pipe_fds[0];
        int writer = pipe_fds[1];

        pid_t pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (namespace >= 0 && setns(namespace, CLONE_NEWNET) < 0)
                        _exit(1);
                _exit(run_child(print, data, writer));
        }
        fd_close(writer);
        if (pid < 0)
                return error_errno(error, -errno, "starting the nftables child");

        char reason[REASON_SIZE] = "";
        size_t used = 0;
        ssize_t n;
        while ((n = read(reader, reason + used, sizeof(reason) - 1 - used)) > 0 || (n < 0 && errno == EINTR))
                if (n > 0)
                        used += (size_t)n;
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        reason[strcspn(reason, "\n")] = 0;
        return error_set(error, -EINVAL, "nftables refused the rules: %s",
                         used ? reason : "its child ended without a word");
}
