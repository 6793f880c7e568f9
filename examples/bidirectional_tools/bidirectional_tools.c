/* Tools both ways: Python asks the program for prices, also in the middle of a stream, and the two call each other in turn, ten deep, with one worker. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>

static const struct quote {
    const char *symbol;
    double price;
} book[] = {{"AAA", 12.5}, {"BBB", 3.0}};

static int price(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    const char *symbol;
    (void)user;
    if (pit_unpack(args, NULL, "{s:s}", "symbol", &symbol) != 0)
        return pit_tool_fail(c, "symbol is missing");
    for (size_t i = 0; i < sizeof book / sizeof book[0]; i++)
        if (strcmp(book[i].symbol, symbol) == 0) {
            *ret = pit_float(book[i].price);
            return 0;
        }
    return pit_tool_fail(c, "there is no %s", symbol);
}

/* Python asks for the factorial of less, and this asks Python for that of still less. */
static int factorial(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    pit_error *err = NULL;
    if (pit_call(user, "factorial", args, NULL, ret, &err) != 0)
        return pit_tool_fail_take(c, err);
    return 0;
}

static int on_line(pit_stream_event *ev, void *user)
{
    (void)user;
    if (ev->kind == PIT_STREAM_CHUNK && pit_value_str(ev->value) != NULL)
        puts(pit_value_str(ev->value));
    return 0;
}

static int register_tools(pit *p, pit_error **err)
{
    pit_tool_options shown = PIT_TOOL_OPTIONS_INIT;
    shown.description = "the price of a symbol";
    shown.exposed = PIT_ON; /* Python finds it in host_tools */
    int rc = pit_tool_register(p, NULL, "price", price, NULL, &shown, err);
    return rc == 0 ? pit_tool_register(p, NULL, "factorial", factorial, p, NULL, err) : rc;
}

static int ask(pit *p, const char *command, const char *format, pit_error **err, const pit_value *args)
{
    pit_value *answer = NULL;
    int rc = pit_call(p, command, args, NULL, &answer, err);
    char *text = pit_value_to_json(answer, 0);
    if (rc == 0)
        printf(format, text);
    pit_free(text);
    pit_value_free(answer);
    return rc;
}

int main(void)
{
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_value *holdings = pit_pack("{s:{s:i,s:i}}", "holdings", "AAA", 2, "BBB", 10), *ten = pit_pack("{s:i}", "n", 10);
    pit_value *symbols = pit_pack("{s:[s,s,s]}", "symbols", "AAA", "BBB", "CCC");
    o.adapter = "bidirectional_tools.py";
    o.workers = 1;

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = register_tools(p, &err);
    if (rc == 0)
        rc = ask(p, "known", "Python may call: %s\n", &err, NULL);
    if (rc == 0)
        rc = ask(p, "worth", "worth: %s\n", &err, holdings);
    if (rc == 0)
        rc = pit_call_stream(p, "report", symbols, NULL, on_line, NULL, NULL, &err);
    if (rc == 0)
        rc = ask(p, "factorial", "10! = %s\n", &err, ten);
    if (rc != 0)
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_value_free(holdings);
    pit_value_free(symbols);
    pit_value_free(ten);
    pit_close(p);
    return rc != 0;
}
