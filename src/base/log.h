/* Logging to standard error, with priorities that the journal understands. */
#pragma once

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* One line per call. `<3>` prefixes when JOURNAL_STREAM names our standard error, time and program name otherwise. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The name at the start of each line ("berthd", "berth-network shared"); copied, at most 63 bytes. */
void log_set_name(const char *name);
/* The most verbose level that is still written; LOG_LEVEL_INFO at first. */
void log_set_level(enum log_level level);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
