/* Runs a fuzz target over the files of its corpus, where there is no libFuzzer. Usage: replay-NAME DIRECTORY
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include "target.h"

int main(int argc, char **argv) {
        struct dirent **entries;
        int n, failed = 0, ran = 0;

        if (argc != 2 || (n = scandir(argv[1], &entries, NULL, alphasort)) < 0) {
                fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
                return 2;
        }
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = text_format("%s/%s", argv[1], entries[i]->d_name), *data = NULL;
                struct error error = ERROR_INIT;
                size_t size;

                if (entries[i]->d_name[0] != '.') {
                        ran++;
                        if (file_read(path, 1024 * 1024, &data, &size, &error) < 0) {
                                printf("not ok %d - %s\n# %s\n", ran, entries[i]->d_name, error.text);
                                failed = 1;
                        } else {
                                LLVMFuzzerTestOneInput((const uint8_t *)data, size); /* a finding aborts */
                                printf("ok %d - %s\n", ran, entries[i]->d_name);
                        }
                }
                free(entries[i]);
        }
        free(entries);
        printf("1..%d\n", ran);
        return failed || ran == 0;
}
