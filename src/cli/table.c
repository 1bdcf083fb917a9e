/* A table for people: columns as wide as what stands in them. */
#include "cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/view.h"

#define GAP 2 /* blanks between columns */

struct table {
        size_t n_columns;
        const char *const *headings;
        char **cells; /* owned strings, row by row */
        size_t n_cells;
        bool failed; /* memory was short */
};

struct table *table_new(const char *const *headings, size_t n_columns) {
        struct table *table = calloc(1, sizeof(*table));

        if (!table)
                return NULL;
        table->headings = headings;
        table->n_columns = n_columns;
        return table;
}

struct table *table_free(struct table *table) {
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cells[i]);
        free(table->cells);
        free(table);
        return NULL;
}

void table_freep(struct table **table) {
        table_free(*table);
}

void table_add(struct table *table, const char *format, ...) {
        char **grown = realloc(table->cells, (table->n_cells + 1) * sizeof(*grown));
        va_list arguments;
        char *cell = NULL;
        int n;

        if (!grown) {
                table->failed = true;
                return;
        }
        table->cells = grown;
        va_start(arguments, format);
        n = vasprintf(&cell, format, arguments);
        va_end(arguments);
        if (n == 0) {
                free(cell);
                cell = strdup("-");
        }
        if (n < 0 || !cell) {
                table->failed = true;
                return;
        }
        grown[table->n_cells++] = view_clean(cell);
}

static const char *heading_text(const char *heading) {
        return heading + (heading[0] == '>');
}

/* Columns of a terminal that a text takes: one per character, not per byte. */
static size_t text_width(const char *s) {
        size_t width = 0;

        for (; *s; s++)
                width += ((unsigned char)*s & 0xc0) != 0x80;
        return width;
}

static void print_cell(const struct table *table, FILE *out, size_t column, const char *text, size_t width) {
        bool right = table->headings[column][0] == '>', last = column + 1 == table->n_columns;
        int padding = (int)(width - text_width(text));

        if (right)
                fprintf(out, "%*s%s", padding, "", text);
        else
                fprintf(out, "%s%*s", text, last ? 0 : padding, "");
        fprintf(out, "%*s", last ? 0 : GAP, "");
}

int table_print(const struct table *table, FILE *out) {
        _cleanup_free_ size_t *widths = calloc(table->n_columns, sizeof(*widths));
        const char *terminal = getenv("TERM");
        bool bold = isatty(fileno(out)) && terminal && !text_equal(terminal, "dumb") && !getenv("NO_COLOR");

        if (!widths || table->failed)
                return -ENOMEM;
        for (size_t i = 0; i < table->n_columns; i++)
                widths[i] = text_width(heading_text(table->headings[i]));
        for (size_t i = 0; i < table->n_cells; i++) {
                size_t width = text_width(table->cells[i]), *widest = &widths[i % table->n_columns];

                *widest = width > *widest ? width : *widest;
        }
        fputs(bold ? "\033[1m" : "", out);
        for (size_t i = 0; i < table->n_columns; i++)
                print_cell(table, out, i, heading_text(table->headings[i]), widths[i]);
        fputs(bold ? "\033[0m\n" : "\n", out);
        for (size_t i = 0; i < table->n_cells; i++) {
                print_cell(table, out, i % table->n_columns, table->cells[i], widths[i % table->n_columns]);
                if (i % table->n_columns == table->n_columns - 1)
                        fputc('\n', out);
        }
        return 0;
}
