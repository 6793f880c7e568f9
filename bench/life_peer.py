"""Other pools of processes over a worker's life: from making one to its first result, and from kill -9 of the worker in a call to the next
good result. What a pool needs for that, up to being made anew, is part of the time."""

import functools
import multiprocessing
import os
import signal
import sys
import time

import peer_loop

MOST = 50
CALL_S = 5  # a pool that does not come back is made anew


def increment(message):
    return {"x": message["x"] + 1}


def hold(path):
    """Says who runs it, and waits to be killed."""
    with open(path, "w") as said:
        said.write(f"{os.getpid()}\n")
    time.sleep(3600)


class StandardPool:
    def __init__(self, method):
        self.pool = multiprocessing.get_context(method).Pool(1)

    def call(self, message):
        return self.pool.apply_async(increment, (message,)).get(CALL_S)

    def hold(self, path):
        self.pool.apply_async(hold, (path,))

    def close(self):
        self.pool.terminate()


class Futures:
    """What looks like concurrent.futures; a broken executor is made anew."""

    def __init__(self, make, end):
        self.make, self.end = make, end
        self.pool = make()

    def submit(self, function, argument):
        return self.pool.submit(function, argument)

    def call(self, message):
        try:
            return self.submit(increment, message).result(CALL_S)
        except Exception:
            self.close()
            self.pool = self.make()
            return self.submit(increment, message).result(CALL_S)

    def hold(self, path):
        self.submit(hold, path)

    def close(self):
        self.end(self.pool)


def executor():
    from concurrent.futures import ProcessPoolExecutor

    return Futures(functools.partial(ProcessPoolExecutor, 1), lambda pool: pool.shutdown(wait=False, cancel_futures=True))


def pebble():
    import pebble

    class Pebble(Futures):
        def submit(self, function, argument):
            return self.pool.schedule(function, args=[argument])

    def end(pool):
        pool.stop()
        pool.join()

    return Pebble(functools.partial(pebble.ProcessPool, max_workers=1), end)


def loky():
    import loky

    return Futures(
        functools.partial(loky.ProcessPoolExecutor, max_workers=1), lambda pool: pool.shutdown(wait=True, kill_workers=True)
    )


KINDS = {
    "pool": functools.partial(StandardPool, "fork"),
    "forkserver": functools.partial(StandardPool, "forkserver"),
    "executor": executor,
    "pebble": pebble,
    "loky": loky,
}


class Life:
    def __init__(self):
        self.make = KINDS[sys.argv[1]]
        self.number = peer_loop.numbers(1)
        self.path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"snakepit-bench-life-{os.getpid()}")
        self.start()  # a fork server, and the modules that are imported late, are there from now on

    def check(self, pool):
        n = next(self.number)
        if pool.call({"x": n}) != {"x": n + 1}:
            raise RuntimeError("wrong answer")

    def start(self):
        begin = time.perf_counter_ns()
        pool = self.make()
        self.check(pool)
        took = time.perf_counter_ns() - begin
        pool.close()
        return took

    def victim(self, pool):
        os.mkfifo(self.path)
        try:
            pool.hold(self.path)
            with open(self.path) as said:
                return int(said.read())
        finally:
            os.unlink(self.path)

    def kill(self):
        pool = self.make()
        self.check(pool)
        pid = self.victim(pool)
        begin = time.perf_counter_ns()
        os.kill(pid, signal.SIGKILL)
        self.check(pool)
        took = time.perf_counter_ns() - begin
        pool.close()
        return took

    def measure(self, request):
        request.put()
        once = {"start": self.start, "kill": self.kill}[request.what]
        end = time.perf_counter_ns() + request.milliseconds * 1_000_000
        samples = []
        while len(samples) < 3 or (time.perf_counter_ns() < end and len(samples) < MOST):
            samples.append(once())
        return peer_loop.sampled(samples, 0.0)


if __name__ == "__main__":
    peer_loop.serve(Life)
