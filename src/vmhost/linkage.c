#include "vmhost/linkage.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/text.h"

/* A program's bytes; every access goes through `part`, for headers may say anything. */
struct program {
        const unsigned char *bytes;
        size_t size;
};

static const void *part(const struct program *program, uint64_t offset, uint64_t size) {
        return offset <= program->size && size <= program->size - offset ? program->bytes + offset : NULL;
}

/* Where in the file an address of the running program lies, or UINT64_MAX. */
static uint64_t offset_of(const struct program *program, const Elf64_Ehdr *header, uint64_t address) {
        for (unsigned i = 0; i < header->e_phnum; i++) {
                const Elf64_Phdr *segment = part(program, header->e_phoff + i * sizeof(*segment),
                                                 sizeof(*segment));

                if (segment && segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
                    address - segment->p_vaddr < segment->p_filesz)
                        return segment->p_offset + (address - segment->p_vaddr);
        }
        return UINT64_MAX;
}

static bool dynamic_needs(const struct program *program, const Elf64_Ehdr *header, const Elf64_Phdr *dynamic,
                          const char *prefix) {
        size_t n = dynamic->p_filesz / sizeof(Elf64_Dyn);
        const Elf64_Dyn *entries = part(program, dynamic->p_offset, dynamic->p_filesz);
        uint64_t strings = UINT64_MAX;

        for (size_t i = 0; entries && i < n && entries[i].d_tag != DT_NULL; i++)
                if (entries[i].d_tag == DT_STRTAB)
                        strings = offset_of(program, header, entries[i].d_un.d_ptr);
        if (strings == UINT64_MAX)
                return false;
        for (size_t i = 0; i < n && entries[i].d_tag != DT_NULL; i++) {
                const char *name = entries[i].d_tag == DT_NEEDED && entries[i].d_un.d_val < program->size
                                           ? part(program, strings + entries[i].d_un.d_val, strlen(prefix))
                                           : NULL;

                if (name && memcmp(name, prefix, strlen(prefix)) == 0)
                        return true;
        }
        return false;
}

static bool program_needs(const struct program *program, const char *prefix) {
        const Elf64_Ehdr *header = part(program, 0, sizeof(*header));

        if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
            header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_phentsize != sizeof(Elf64_Phdr))
                return false;
        for (unsigned i = 0; i < header->e_phnum; i++) {
                const Elf64_Phdr *segment = part(program, header->e_phoff + i * sizeof(*segment),
                                                 sizeof(*segment));

                if (segment && segment->p_type == PT_DYNAMIC)
                        return dynamic_needs(program, header, segment, prefix);
        }
        return false;
}

bool linkage_needs(const char *path, const char *prefix) {
        struct stat status;

        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
                return false;
        struct program program = { .size = (size_t)status.st_size };
        /* A map instead of a copy: of its megabytes three pages are looked at. */
        void *map = mmap(NULL, program.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
                return false;
        program.bytes = map;
        bool needs = program_needs(&program, prefix);
        munmap(map, program.size);
        return needs;
}
