/* A skipped test says why; tools/dev/count looks for the line. */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

#define SKIP_BECAUSE(why)                                                                                                      \
    do {                                                                                                                       \
        print_message("skipped: %s\n", why);                                                                                   \
        skip();                                                                                                                \
    } while (0)

#endif
