#define PIT_CODE_LIST(X) X(NOT_FOUND, not_found, VALIDATION, -1, 0, "there is no such thing")
