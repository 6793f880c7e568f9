/* A tool that streams, read in three ways: by a callback as the words come, by a callback that has had enough, and at the program's own pace. */
#include <snakepit/snakepit.h>
#include <stdio.h>

struct reader {
    int words, enough;
};

static int on_word(pit_stream_event *ev, void *user)
{
    struct reader *r = user;
    if (ev->kind != PIT_STREAM_CHUNK || pit_value_str(ev->value) == NULL)
        return 0; /* the end, or the chunk that only says that it is the last one */
    printf("%s ", pit_value_str(ev->value));
    fflush(stdout);
    return ++r->words == r->enough ? PIT_STREAM_HALT : 0;
}

static int to_its_end(pit *p, const pit_value *args, pit_error **err)
{
    struct reader all = {0, 0};
    pit_value *final = NULL;
    int rc = pit_call_stream(p, "generate", args, NULL, on_word, &all, &final, err);
    int words = -1;
    if (rc == 0 && pit_unpack(final, NULL, "{s:i}", "words", &words) == 0)
        printf("\n%d words came, the generator says %d\n", all.words, words);
    pit_value_free(final);
    return rc;
}

static int until_enough(pit *p, const pit_value *args, pit_error **err)
{
    struct reader few = {0, 3};
    int rc = pit_call_stream(p, "generate", args, NULL, on_word, &few, NULL, err);
    if (rc == 0)
        printf("\nenough after %d: the generator is closed\n", few.words);
    return rc;
}

static int at_own_pace(pit *p, const pit_value *args, pit_error **err)
{
    pit_stream *s = NULL;
    pit_value *word = NULL;
    int rc = pit_stream_open(p, "generate", args, NULL, PIT_STREAM_READ, &s, err);
    while (rc == 0 && (rc = pit_stream_next(s, PIT_INFINITE, &word, err)) == 0) {
        printf("%s ", pit_value_str_or(word, "?"));
        pit_value_free(word);
    }
    if (rc == PIT_E_END) /* no error: nothing more will come */
        puts("\nread at the program's own pace"), rc = 0;
    pit_stream_close(s);
    return rc;
}

int main(void)
{
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_value *args = pit_pack("{s:i,s:i}", "seed", 7, "words", 8);
    o.adapter = "streaming.py";
    o.workers = 1;

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = to_its_end(p, args, &err);
    if (rc == 0)
        rc = until_enough(p, args, &err);
    if (rc == 0)
        rc = at_own_pace(p, args, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_value_free(args);
    pit_close(p);
    return rc != 0;
}
