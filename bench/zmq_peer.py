"""pyzmq measured by itself: REQ here, REP in another Python process, over ipc (an abstract name: no file is left)."""

import multiprocessing
import os

import peer_loop


def answer(address):
    import zmq

    socket = zmq.Context().socket(zmq.REP)
    socket.bind(address)
    while True:
        message = socket.recv_pyobj()
        socket.send_pyobj({"x": message["x"] + 1})


class RequestReply:
    def __init__(self):
        try:
            import zmq
        except ImportError:
            raise peer_loop.Missing("pyzmq is not installed (./dev bench installs tools/requirements-bench.txt)") from None
        address = f"ipc://@snakepit-bench-{os.getpid()}"
        self.process = multiprocessing.Process(target=answer, args=(address,), daemon=True)
        self.process.start()
        self.socket = zmq.Context().socket(zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, 10_000)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def call(self, message):
        self.socket.send_pyobj(message)
        return self.socket.recv_pyobj()

    def measure(self, request):
        self.call({"x": 1})  # it is connected, and all threads of both sides are there
        request.put(self.process.pid)
        return peer_loop.one_by_one(self.call, request)


if __name__ == "__main__":
    peer_loop.serve(RequestReply)
