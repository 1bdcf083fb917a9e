/* Fields: taking a JSON object apart strictly, by a table. */
#include "wire/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int parse_string(const struct field *field, json_t *value, struct error *error) {
        if (!json_is_string(value))
                return error_set(error, -EINVAL, "\"%s\" must be a string", field->key);
        if (strlen(json_string_value(value)) != json_string_length(value))
                return error_set(error, -EINVAL, "\"%s\" must not have a NUL in it", field->key);
        *(const char **)field->ret = json_string_value(value);
        return 0;
}

static int parse_u64(const struct field *field, json_t *value, struct error *error) {
        json_int_t number = json_integer_value(value);

        if (!json_is_integer(value) || number < 0 || (uint64_t)number < field->min ||
            (uint64_t)number > field->max)
                return error_set(error, -EINVAL, "\"%s\" must be an integer from %" PRIu64 " to %" PRIu64,
                                 field->key, field->min, field->max);
        *(uint64_t *)field->ret = (uint64_t)number;
        return 0;
}

static int parse_field(const struct field *field, json_t *value, struct error *error) {
        switch (field->type) {
        case FIELD_STRING:
                return parse_string(field, value, error);
        case FIELD_BOOL:
                if (!json_is_boolean(value))
                        return error_set(error, -EINVAL, "\"%s\" must be true or false", field->key);
                *(bool *)field->ret = json_is_true(value);
                return 0;
        case FIELD_U64:
                return parse_u64(field, value, error);
        case FIELD_OBJECT:
                if (!json_is_object(value))
                        return error_set(error, -EINVAL, "\"%s\" must be an object", field->key);
                *(json_t **)field->ret = value;
                return 0;
        case FIELD_ARRAY:
                if (!json_is_array(value))
                        return error_set(error, -EINVAL, "\"%s\" must be an array", field->key);
                *(json_t **)field->ret = value;
                return 0;
        }
        return error_set(error, -EINVAL, "\"%s\" is of no known type", field->key);
}

static bool is_known(const struct field *fields, size_t n_fields, const char *key) {
        for (size_t i = 0; i < n_fields; i++)
                if (strcmp(fields[i].key, key) == 0)
                        return true;
        return false;
}

int fields_parse(json_t *object, const struct field *fields, size_t n_fields, bool tolerant,
                 struct error *error) {
        const char *key;
        json_t *value;
        int r;

        if (!json_is_object(object))
                return error_set(error, -EINVAL, "not an object");

        if (!tolerant) {
                json_object_foreach(object, key, value)
                        if (!is_known(fields, n_fields, key))
                                return error_set(error, -EINVAL, "\"%s\" is not known here", key);
        }

        for (size_t i = 0; i < n_fields; i++) {
                value = json_object_get(object, fields[i].key);
                if (value) {
                        r = parse_field(&fields[i], value, error);
                        if (r < 0)
                                return r;
                } else if (fields[i].required)
                        return error_set(error, -EINVAL, "\"%s\" is required", fields[i].key);
        }
        return 0;
}
