#ifndef BAD_H
#define BAD_H
struct bad {
    int a;
    union {
        int b;
        long c;
    };
};
int bad(void);
#endif
