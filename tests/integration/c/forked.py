"""The adapter of test_zygote.c. What it does while it is imported is chosen by the environment."""

import os
import socket
import threading

if os.environ.get("FORKED_MODE") == "thread":
    threading.Thread(target=threading.Event().wait, name="left-over", daemon=True).start()
if os.environ.get("FORKED_MODE") == "dies":
    os.write(2, b"first line\n\xff\xc2\x9b\x1b[2Jlast words password=hunter2 at the end\n")
    os._exit(3)
if os.environ.get("FORKED_MODE") == "broken":
    raise RuntimeError("this import does not work")
if os.environ.get("FORKED_MODE") == "refuses":
    import errno

    from snakepit_bridge import _template

    def answer(self, token, *_):
        self._refuse(token, errno.ECONNRESET, "clone")
        return False

    _template.Template._answer = answer

if os.environ.get("FORKED_MODE") == "spins":
    from snakepit_bridge import _template

    def spin(*_):
        while True:
            pass

    _template.Template._answer = spin

IMPORTED_BY = os.getpid()


def send_descriptor() -> int:
    """The errno with which the control socket refuses a descriptor."""
    with socket.socket(fileno=os.dup(3)) as control:
        try:
            socket.send_fds(control, [b"x"], [0])
        except OSError as exc:
            return exc.errno
    return 0


SENT = send_descriptor() if os.environ.get("FORKED_MODE") == "sends" else -1


class Forked:
    def pid(self) -> int:
        return os.getpid()

    def imported_by(self) -> int:
        return IMPORTED_BY

    def sent(self) -> int:
        return SENT

    def mode(self) -> str:
        return os.environ.get("FORKED_LIMIT", "") + os.environ.get("OMP_NUM_THREADS", "")
