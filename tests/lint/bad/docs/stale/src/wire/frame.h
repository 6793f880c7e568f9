#define FRAME_KIND_LIST(X) X(HELLO, hello, 1, w, "map: pid")
#define FRAME_FIELD_LIST(X) X(SESSION, session_id, 1)
