/* Image: what a qcow2 file says of itself, as far as others must know: the files below it. */
#pragma once

#include "base/error.h"

/*
 * The file that a qcow2 image is an overlay of, absolute: *ret is a new string, or NULL where it stands on
 * its own or is no qcow2 image. 0, -EINVAL (a header that contradicts itself, or a backing that is no file),
 * or -errno.
 */
int image_find_backing(const char *path, char **ret, struct error *error);
