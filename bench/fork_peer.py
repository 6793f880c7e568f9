"""The floor of workers that are forked: a process that has imported what its argument names and forks; from the fork to the child's first byte."""

import importlib
import os
import sys
import time

import peer_loop

MOST = 200


class Template:
    def __init__(self):
        for name in ("OPENBLAS", "OMP", "MKL"):
            os.environ[f"{name}_NUM_THREADS"] = "1"
        for module in sys.argv[1].split(","):
            importlib.import_module(module)

    def fork(self):
        out, into = os.pipe()
        start = time.perf_counter_ns()
        pid = os.fork()
        if pid == 0:
            os.write(into, b"x")
            os._exit(0)
        os.read(out, 1)
        took = time.perf_counter_ns() - start
        os.waitpid(pid, 0)
        os.close(out)
        os.close(into)
        return took

    def measure(self, request):
        request.put()
        end = time.perf_counter_ns() + request.milliseconds * 1_000_000
        samples = []
        while len(samples) < 3 or (time.perf_counter_ns() < end and len(samples) < MOST):
            samples.append(self.fork())
        return peer_loop.sampled(samples, 0.0)


peer_loop.serve(Template)
