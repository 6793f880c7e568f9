/* The oldest versions of what moved into libc.so.6 with glibc 2.32 and 2.34, so that a wheel runs on systems from glibc 2.17 on: without this
 * the linker takes the versions of the machine that it runs on. There these are the same functions; an older system has them in the libraries
 * that its Python is linked with. Each file that uses one of them includes this. */
#ifndef SNAKEPIT_GLIBC_H
#define SNAKEPIT_GLIBC_H

#include <features.h>

#if defined(__GLIBC__) && defined(__x86_64__)
#define SNAKEPIT_GLIBC "GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
#define SNAKEPIT_GLIBC "GLIBC_2.17"
#endif

#ifdef SNAKEPIT_GLIBC
#define SNAKEPIT_OLD(name) __asm__(".symver " #name "," #name "@" SNAKEPIT_GLIBC)
SNAKEPIT_OLD(dlclose);
SNAKEPIT_OLD(dlopen);
SNAKEPIT_OLD(dlsym);
SNAKEPIT_OLD(pthread_attr_setstacksize);
SNAKEPIT_OLD(pthread_create);
SNAKEPIT_OLD(pthread_key_create);
SNAKEPIT_OLD(pthread_mutex_trylock);
SNAKEPIT_OLD(pthread_setspecific);
SNAKEPIT_OLD(pthread_sigmask);
#endif

#endif
