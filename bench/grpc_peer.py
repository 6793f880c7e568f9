"""grpcio measured by itself: unary calls of 8 packed bytes (no protobuf) to a Python server over a Unix socket (an abstract name), one after
the other ("unary") and 64 under way ("depth64"); and server streams of such bytes ("stream")."""

import os
import struct
import subprocess
import sys
import time

import peer_loop

NUMBER = struct.Struct("<Q")
DEPTH = 64
SERVICE, METHOD, STREAM = "snakepit.Bench", "Increment", "Count"
CHUNKS = 5000  # of a stream
SECONDS = 10


def grpc():
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        import grpc
    except ImportError:
        raise peer_loop.Missing("grpcio is not installed (./dev bench installs tools/requirements-bench.txt)") from None
    return grpc


def increment(request, context):
    return NUMBER.pack(NUMBER.unpack(request)[0] + 1)


def count(request, context):
    for i in range(NUMBER.unpack(request)[0]):
        yield NUMBER.pack(i)


def serve(address):
    """The server: ends with its standard input."""
    from concurrent.futures import ThreadPoolExecutor

    module = grpc()
    server = module.server(ThreadPoolExecutor(1))  # of 1, 2, 4 and 8 threads the fastest
    handlers = {
        METHOD: module.unary_unary_rpc_method_handler(increment),
        STREAM: module.unary_stream_rpc_method_handler(count),
    }
    server.add_generic_rpc_handlers((module.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(None)


class Client:
    def __init__(self):
        module = grpc()
        address = f"unix-abstract:snakepit-bench-{os.getpid()}"
        command = [sys.executable, "-Es", __file__, "--serve", address]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.server.stdout.readline() != b"ready\n":
            raise RuntimeError("the server does not start")
        self.channel = module.insecure_channel(address)
        self.method = self.channel.unary_unary(f"/{SERVICE}/{METHOD}")
        self.stream = self.channel.unary_stream(f"/{SERVICE}/{STREAM}")

    def call(self, message):
        return {"x": NUMBER.unpack(self.method(NUMBER.pack(message["x"]), timeout=SECONDS))[0]}

    def window(self, milliseconds, source):
        """Keeps 64 under way: when the older half is back, the window is filled again, as in submit.depth64."""
        now = time.perf_counter_ns
        start = now()
        end, done, pending = start + milliseconds * 1_000_000, 0, []
        while now() < end or pending:
            while len(pending) < DEPTH and now() < end:
                n = next(source)
                pending.append((n, self.method.future(NUMBER.pack(n), timeout=SECONDS)))
            half = (len(pending) + 1) // 2
            for n, future in pending[:half]:
                if NUMBER.unpack(future.result())[0] != n + 1:
                    raise RuntimeError("wrong answer")
            del pending[:half]
            done += half
        return done, (now() - start) / 1e9

    def chunks(self, n):
        return (NUMBER.unpack(chunk)[0] for chunk in self.stream(NUMBER.pack(n), timeout=SECONDS))

    def measure(self, request):
        self.call({"x": 1})
        request.put(self.server.pid)
        if request.what == "stream":
            return peer_loop.streamed(self.chunks, CHUNKS, request)
        if request.what == "unary":
            return peer_loop.one_by_one(self.call, request)
        source = peer_loop.numbers(1)
        self.window(request.milliseconds // 10, source)
        return peer_loop.counted(*self.window(request.milliseconds, source))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        peer_loop.serve(Client)
