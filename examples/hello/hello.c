#include <snakepit/snakepit.h>
#include <stdio.h>

int main(void)
{
    pit *p = NULL;
    pit_value *r = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    o.adapter = "hello.py"; /* class Hello: def greet(self, name): return f"Hello, {name}" */

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = pit_callf(p, "greet", NULL, &r, &err, "{s:s}", "name", "World");
    if (rc == 0)
        puts(pit_value_str_or(r, "(no text)"));
    else
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_value_free(r);
    pit_close(p);
    return rc != 0;
}
