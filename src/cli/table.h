/* A table for people: columns as wide as what stands in them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

/* Headings are borrowed; one that begins with '>' is of a column of numbers, aligned to the right. NULL: no
 * memory. */
struct table *table_new(const char *const *headings, size_t n_columns);
struct table *table_free(struct table *table);
void table_freep(struct table **table);

/* The next cell, from left to right, row by row; "-" for an empty one. Control characters become '?'. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints it; headings in bold where `out` is a terminal. 0, or -ENOMEM when a cell could not be kept. */
int table_print(const struct table *table, FILE *out);
