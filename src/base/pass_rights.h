/* The option of a Unix socket to which no descriptors can be sent. Linux 6.16; newer than most headers.
 *
 * A descriptor that nobody asked for is closed by whoever reads past it, in the middle of recv, and to close can mean to wait: for the other
 * end of a socket that lingers, for as long as its sender has chosen. Refused, it stays with its sender (EPERM). */
#ifndef PIT_BASE_PASS_RIGHTS_H
#define PIT_BASE_PASS_RIGHTS_H

#include <sys/socket.h>

#ifdef SO_PASSRIGHTS
#define SOCKET_PASS_RIGHTS SO_PASSRIGHTS
#elif defined __hppa__ || defined __sparc__ /* they count in a way of their own: no option */
#define SOCKET_PASS_RIGHTS (-1)
#else
#define SOCKET_PASS_RIGHTS 83
#endif

#endif
