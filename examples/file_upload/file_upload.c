/* A file goes to a worker piece by piece: file_upload FILE. The worker's word on how much has come paces the reading. */
#include <snakepit/snakepit.h>
#include <stdio.h>

enum { PIECE = 64 * 1024 };

/* Sends one piece and hears how much the worker has. */
static int send_piece(pit_stream *s, const char *data, size_t n, pit_error **err)
{
    pit_value *piece = pit_bytes(data, n), *has = NULL;
    int rc = pit_stream_send(s, piece, PIT_INFINITE, err);
    if (rc == 0)
        rc = pit_stream_next(s, PIT_INFINITE, &has, err);
    pit_value_free(piece);
    pit_value_free(has);
    return rc;
}

static int upload(pit *p, const char *path, FILE *file, pit_error **err)
{
    static char block[PIECE];
    pit_value *args = pit_pack("{s:s}", "name", path);
    pit_stream *s = NULL;
    size_t n;
    int pieces = 0, rc = pit_stream_open(p, "upload", args, NULL, PIT_STREAM_BIDI, &s, err);
    while (rc == 0 && (n = fread(block, 1, sizeof block, file)) > 0)
        rc = send_piece(s, block, n, err), pieces++;
    if (rc == 0 && ferror(file)) {
        perror(path);
        rc = PIT_E_SYSTEM_ERROR;
    }
    if (rc == 0)
        rc = pit_stream_send_end(s);
    if (rc == 0)
        rc = pit_stream_next(s, PIT_INFINITE, NULL, err);
    if (rc == PIT_E_END) {
        const pit_value *result = pit_stream_result(s);
        int64_t bytes = 0;
        pit_value_get_int(pit_value_get(result, "bytes"), &bytes);
        printf("%s: %lld bytes in %d pieces, sha256 %s\n", path, (long long)bytes, pieces,
               pit_value_str_or(pit_value_get(result, "sha256"), "?"));
        rc = 0;
    }
    pit_stream_close(s);
    pit_value_free(args);
    return rc;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        if (argc == 2)
            perror(argv[1]);
        else
            fputs("usage: file_upload FILE\n", stderr);
        return 2;
    }
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    o.adapter = "file_upload.py";
    o.workers = 1;
    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = upload(p, argv[1], file, &err);
    if (rc != 0 && !ferror(file)) /* which has been told */
        fprintf(stderr, "%s\n", err != NULL ? pit_error_string(err) : pit_strerror(rc));
    fclose(file);
    pit_error_free(err);
    pit_close(p);
    return rc != 0;
}
