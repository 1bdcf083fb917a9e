/* Survey: what all VMs say of themselves, within a deadline that none of them can move. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/*
 * Asks every VM's vmhost for `info`, all at once. No answer is waited for longer than SURVEY_HARD_MS. Once
 * half of them have answered, the others get SURVEY_SOFT_MS in all, or as many times as long as the slowest
 * answer took as SURVEY_FACTOR says: on a loaded machine that is longer.
 */
#define SURVEY_SOFT_MS 40
#define SURVEY_FACTOR 2
#define SURVEY_HARD_MS 350

/*
 * *ret is an array in the order of the names, of objects with "name", "state" and what else is known:
 *
 *   running, stopped, error             as vmhost(8) says; all that its `info` answers, but "ok", is there
 * too starting                            a vmhost that has no VM yet; "message" says how far it is
 *   restarting                          one that waits before it starts its VM again
 *   silent                              a vmhost that does not answer
 *   orphaned                            the VM runs, its vmhost was killed
 *   stopped, failed                     no vmhost; "last_end" is there when the VM ever ran
 *
 * 0 or -ENOMEM.
 */
int vm_survey(const char *config, char **names, size_t n_names, json_t **ret);

/* The same for a VM without a vmhost: a new reference, or NULL when memory is short. */
json_t *vm_survey_unhosted(const char *directory, const char *name);
