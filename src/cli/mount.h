/* Mounts: what is in the way of a removal. */
#pragma once

/* The path of the first mount at or below a directory, as mounts are listed: a new string, or NULL where there
 * is none. 0 or -errno. */
int mount_find(const char *directory, char **ret);
