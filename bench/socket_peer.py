"""The plain Python side of a socketpair: reads 32 bytes, adds one to the number in them, writes 32 bytes."""

import os
import struct

FD = 3
MESSAGE = struct.Struct("<Q24x")


def main() -> None:
    read, write, unpack, pack, size = os.read, os.write, MESSAGE.unpack, MESSAGE.pack, MESSAGE.size
    while True:
        data = read(FD, size)
        if len(data) != size:
            return
        (n,) = unpack(data)
        write(FD, pack(n + 1))


main()
