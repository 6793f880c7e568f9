#define PIT_CODE_LIST(X)                                      \
    X(ONE, one, POOL, -1, 1, "something")                     \
    X(TWO, two, POOL, -2, 0, "something else")
