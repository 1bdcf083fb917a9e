/* Activation: what a service manager gives and wants, by sd_listen_fds(3) and sd_notify(3). */
#pragma once

/* The listening Unix socket that this process was started with, CLOEXEC now, or -1; -EINVAL where what was
 * given is something else. Forgets it in the environment, so that no child takes it for its own. */
int activation_take_socket(void);

/* Tells the manager, if there is one: "READY=1". */
void activation_notify(const char *state);
