/* base/list and base/memory */
#include "harness.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/memory.h"

struct item {
        int number;
        struct list items;
};

static struct item *item_new(struct list *head, int number) {
        struct item *item = calloc(1, sizeof(*item));

        assert_non_null(item);
        item->number = number;
        list_append(head, &item->items);
        return item;
}

static void test_order(void **state) {
        struct list head = LIST_INIT(head);
        int expected = 0;

        assert_true(list_empty(&head));
        for (int i = 0; i < 3; i++)
                item_new(&head, i);
        assert_false(list_empty(&head));
        list_for_each(struct item, item, &head, items) {
                assert_int_equal(item->number, expected++);
                list_unlink(&item->items);
                free(item);
        }
        assert_int_equal(expected, 3);
        assert_true(list_empty(&head));
}

static void test_unlink_twice(void **state) {
        struct list head = LIST_INIT(head);
        struct item *a = item_new(&head, 1), *b = item_new(&head, 2), *c = item_new(&head, 3);
        int n = 0;

        /* The neighbours that an entry had are no business of its second time. */
        list_unlink(&a->items);
        list_unlink(&b->items);
        list_unlink(&a->items);
        list_for_each(struct item, item, &head, items) {
                assert_ptr_equal(item, c);
                n++;
        }
        assert_int_equal(n, 1);
        free(a);
        free(b);
        free(c);
}

static void test_steal(void **state) {
        char *a = malloc(1);
        _cleanup_free_ char *b = steal_ptr(a);

        assert_null(a);
        assert_non_null(b);
}

HARNESS_MAIN(cmocka_unit_test(test_order), cmocka_unit_test(test_unlink_twice), cmocka_unit_test(test_steal))
