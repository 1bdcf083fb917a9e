/* Code: the error codes of berth-protocol(7). */
#pragma once

enum code {
        CODE_NOT_ALLOWED = 3,
        CODE_INVALID_REQUEST = 4,
        CODE_NOT_FOUND = 5,
        CODE_CREATE_FAILURE = 6,
        CODE_INTERNAL_ERROR = 7,
        CODE_IN_USE = 8,
};
