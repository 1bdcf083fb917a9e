/* An intrusive, circular, doubly linked list. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"

struct list {
        struct list *next, *prev;
};

#define LIST_INIT(l) ((struct list){ .next = &(l), .prev = &(l) })

static inline void list_init(struct list *l) {
        l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
        return l->next == l;
}
static inline void list_append(struct list *head, struct list *entry) {
        entry->prev = head->prev;
        entry->next = head;
        head->prev->next = entry;
        head->prev = entry;
}
/* Leaves the entry as an empty list, so unlinking twice is harmless. */
static inline void list_unlink(struct list *entry) {
        entry->prev->next = entry->next;
        entry->next->prev = entry->prev;
        list_init(entry);
}

/* `type *entry` over the list. The current entry may be unlinked and freed within the body. */
#define list_for_each(type, entry, head, member)                                                             \
        for (type *entry = container_of((head)->next, type, member),                                         \
                  *entry##_next = container_of(entry->member.next, type, member);                            \
             &entry->member != (head);                                                                       \
             entry = entry##_next, entry##_next = container_of(entry->member.next, type, member))
