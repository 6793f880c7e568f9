/* Linked into the guards of builds with AddressSanitizer: no look for leaks when they end. They allocate nothing; and that look starts a process
 * which stops the one that ends, waits for it, and was seen to do so for ever where the guard's children were being killed. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
