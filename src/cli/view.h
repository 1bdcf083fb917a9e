/* Views: what the broker says of networks, as people read it. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Members of an object that may be missing or of another type: "" and 0 then. Borrowed. */
const char *view_string(const json_t *object, const char *key);
int64_t view_integer(const json_t *object, const char *key);

/* Room for what the functions below write; they return buffer. */
#define VIEW_TEXT_SIZE 96

/* "192.168.64.0/24" */
char *view_subnet(const json_t *network, char buffer[static VIEW_TEXT_SIZE]);
/* "fd1c:9a04:77b2:40::/64", or "" */
char *view_ipv6_prefix(const json_t *network, char buffer[static VIEW_TEXT_SIZE]);
/* "running", or "idle, removed in 1 min 58 s" */
char *view_state(const json_t *network, char buffer[static VIEW_TEXT_SIZE]);
/* "1.2 MiB" */
char *view_bytes(int64_t bytes, char buffer[static VIEW_TEXT_SIZE]);
/* "alice", or the number where it has no name */
char *view_user(int64_t uid, char buffer[static VIEW_TEXT_SIZE]);

/* What others chose, such as a guest or a program's name, must not drive the terminal: control characters,
 * those of ISO 6429 beyond ASCII (U+0080 to U+009F in UTF-8) too, become '?'. Returns text. */
char *view_clean(char *text);

/* Prints JSON for programs, indented, with a newline. 0 or -ENOMEM. */
int view_print_json(const json_t *value);
