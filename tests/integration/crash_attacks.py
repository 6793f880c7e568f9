"""Ways to die for test_crash_attacks.py. Each takes what it is given, so that no two calls are the same."""

import ctypes
import faulthandler
import functools
import mmap
import os
import shutil
import signal
import struct
import sys
import threading
import time

C = ctypes.PyDLL(os.environ["CRASH_LIBRARY"])  # keeps the interpreter locked
FREE = ctypes.CDLL(os.environ["CRASH_LIBRARY"])


def crash_page():
    """The shared segment and where the crash page begins in it."""
    for fd in range(3, 30):
        try:
            if "memfd:snakepit" not in os.readlink(f"/proc/self/fd/{fd}"):
                continue
            area = mmap.mmap(fd, os.fstat(fd).st_size)
            return area, struct.unpack_from("<I", area, 36)[0]
        except OSError:
            pass
    raise RuntimeError("no segment")


def loaded_bytes(path):
    """What of an ELF file is mapped into memory, in whole pages."""
    with open(path, "rb") as f:
        head = f.read(4096)
    at, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    parts = [struct.unpack_from("<IIQQQQ", head, at + i * size) for i in range(count)]
    return max(-(-(part[2] + part[5]) // 4096) * 4096 for part in parts if part[0] == 1)


def nest(depth, then):
    """So many frames of Python, and one thing at their end."""
    return nest(depth - 1, then) if depth > 0 else then()


class Attacks:
    __thread_safe__ = True

    def echo(self, n):
        return n

    def version(self, n):
        return list(sys.version_info[:2])

    def write(self, n):
        return C.crash_below(ctypes.c_long(n))

    def write_unlocked(self, n):
        return FREE.crash_below(ctypes.c_long(n))

    def static_function(self, n):
        return C.crash_static(ctypes.c_long(n))

    def overflow(self, n):
        return C.crash_overflow(0)

    def alloca(self, n):
        return C.crash_alloca()

    def python_overflow(self, n):
        sys.setrecursionlimit(1 << 30)

        class Deep:
            def __repr__(self):
                return repr(self)

        return repr(Deep())

    def heap(self, n):
        return C.crash_heap()

    def inside_malloc(self, n):
        return C.crash_inside_malloc()

    def user_handler(self, n):
        return C.crash_in_a_handler()

    def python_handler(self, n):
        signal.signal(signal.SIGUSR2, lambda *_: C.crash_below(ctypes.c_long(8)))
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)  # allow-sleep: until the handler runs

    def blocked(self, n):
        C.block_signals()
        return C.crash_below(ctypes.c_long(8))

    def blocked_abort(self, n):
        C.block_signals()
        os.abort()

    def ignored_abort(self, n):
        C.ignore_abort()
        os.abort()

    def small_stack(self, n, size):
        C.replace_stack(ctypes.c_long(size))
        return C.crash_below(ctypes.c_long(8))

    def together(self, n):
        return FREE.crash_together(12)

    def passed_on(self, n):
        C.put_handler_over(0)
        return C.crash_below(ctypes.c_long(n))

    def passed_on_later(self, n):
        C.put_handler_over(5)
        return C.crash_below(ctypes.c_long(n))

    def called(self, n):
        C.put_handler_over(1)
        return C.crash_below(ctypes.c_long(n))

    def survived(self, n):
        C.put_handler_over(2)
        return C.crash_and_come_back(ctypes.c_long(8))

    def stays(self, n):
        C.put_handler_over(3)
        return C.crash_below(ctypes.c_long(8))

    def crashes_again(self, n):
        C.put_handler_over(4)
        C.replace_stack(ctypes.c_long(1 << 16))
        return C.crash_below(ctypes.c_long(8))

    def python_signal(self, n):
        signal.signal(signal.SIGSEGV, lambda *_: None)
        return C.crash_below(ctypes.c_long(8))

    def faulthandler_after(self, n):
        faulthandler.enable()
        return C.crash_below(ctypes.c_long(n))

    def faulthandler_twice(self, n):
        faulthandler.enable()
        faulthandler.disable()
        faulthandler.enable()
        C.put_handler_over(0)
        return C.crash_below(ctypes.c_long(n))

    def in_a_fork(self, n):
        pid = os.fork()
        if pid == 0:
            C.crash_below(ctypes.c_long(8))
        status = os.waitpid(pid, 0)[1]
        return os.WTERMSIG(status)

    def deep(self, n):
        sys.setrecursionlimit(20000)
        return nest(10000, functools.partial(C.crash_below, ctypes.c_long(8)))

    def many_threads(self, n, threads):
        gate = threading.Event()
        for _ in range(threads):
            threading.Thread(target=nest, args=(40, gate.wait), daemon=True).start()
        return C.crash_below(ctypes.c_long(8))

    def leaves(self, n):
        C.arm()
        C.leave(0)

    def killed_by_another(self, n):
        os.system("kill -SEGV $PPID")
        time.sleep(60)  # allow-sleep: until it comes

    def aborted_by_another(self, n):
        os.system("kill -ABRT $PPID")
        time.sleep(60)  # allow-sleep: until it comes

    def aborts(self, n):
        os.abort()

    def kills_itself(self, n):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)  # allow-sleep: until it comes

    def library(self, n, folder, how):
        """A library whose file is not what it was any more when it is looked at."""
        path = os.path.join(folder, f"lib{how}{os.getpid()}.so")
        shutil.copy(os.environ["CRASH_LIBRARY"], path)
        library = ctypes.PyDLL(path)
        if how == "deleted":
            os.unlink(path)
        elif how == "short":
            os.truncate(path, loaded_bytes(path))
        elif how == "rubbish":
            size, end = os.path.getsize(path), loaded_bytes(path)
            with open(path, "r+b") as f:
                f.seek(end)
                f.write(bytes([n & 255]) * (size - end))
        elif how == "sections":  # a table of symbols as large as there are numbers
            with open(path, "r+b") as f:
                f.seek(struct.unpack("<Q", f.read(48)[40:])[0])
                f.write(struct.pack("<IIQQQQIIQQ", 1, 2, 7, 1 << 40, 64, (1 << 64) - 64, 3, 1, 8, 24) * 30)
        return library.crash_below(ctypes.c_long(n))

    def lies(self, n, sig, state=3):
        """A page that tells of a death that this one is not, and no handler to correct it."""
        area, at = crash_page()
        struct.pack_into("<IIIii", area, at, state, os.getpid(), os.getpid(), sig, 1)
        C.replace_handler()
        return C.crash_below(ctypes.c_long(8))

    def escapes(self, n):
        """Text that a terminal would obey, told as a Python stack."""
        area, at = crash_page()
        text = b'Current thread 0x1 (most recent call first):\n  File "/\x1b[31m\xc2\x9b\xff.py", line 3 in \x1b]0;x\x07\n'
        struct.pack_into("<IIIii", area, at, 3, os.getpid(), os.getpid(), 11, 1)
        struct.pack_into("<I", area, at + 92, 1 << 11)
        struct.pack_into("<I", area, at + 116, len(text))
        where = at + 136 + 48 * 32 + 16 * 224 + 3072
        area[where : where + len(text)] = text
        C.replace_handler()
        return C.crash_below(ctypes.c_long(8))

    def scribbles(self, n):
        area, at = crash_page()
        page = ctypes.addressof(ctypes.c_char.from_buffer(area, at))
        FREE.write_to_the_page(ctypes.c_void_p(page))
        return C.crash_below(ctypes.c_long(8))
