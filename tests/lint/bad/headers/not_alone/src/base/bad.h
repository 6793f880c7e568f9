#ifndef BAD_H
#define BAD_H
size_t bad(void);
#endif
