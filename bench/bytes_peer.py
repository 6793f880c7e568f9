"""The plain Python side of a socketpair for large messages: reads SIZE bytes into one buffer, writes them back."""

import socket
import sys

FD = 3


def main() -> None:
    size = int(sys.argv[1])
    peer = socket.socket(fileno=FD)
    view = memoryview(bytearray(size))
    while True:
        at = 0
        while at < size:
            got = peer.recv_into(view[at:])
            if got == 0:
                return
            at += got
        peer.sendall(view)


main()
