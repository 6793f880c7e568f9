#ifndef BAD_H
#define BAD_H
int bad(int new);
#endif
