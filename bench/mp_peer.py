"""The standard library measured by itself, one of it for each process: multiprocessing's Pipe (calls, and a generator's items), Pool and Pool.map, and
ProcessPoolExecutor."""

import multiprocessing
import os
import sys
import time

import peer_loop


def increment(message):
    return {"x": message["x"] + 1}


def attempt(message):
    """Pool.map gives the first error and no answer at all; with an answer or error for each it does what pit_call_many does."""
    try:
        return True, increment(message)
    except Exception as problem:
        return False, problem


def pipe_child(connection):
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        connection.send(increment(message))


def count(n):
    for i in range(n):  # noqa: UP028 - the loop is what is measured
        yield i


def stream_child(connection):
    while True:
        try:
            n = connection.recv()
        except EOFError:
            return
        for item in count(n):
            connection.send(item)
        connection.send(None)


class OneByOne:
    def measure(self, request):
        request.put(self.pid)
        return peer_loop.one_by_one(self.call, request)


class Pipe(OneByOne):
    def __init__(self):
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=pipe_child, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.pid = self.process.pid

    def call(self, message):
        self.connection.send(message)
        return self.connection.recv()


class PipeStream:
    CHUNKS = 5000

    def __init__(self):
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=stream_child, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def chunks(self, n):
        self.connection.send(n)
        return iter(self.connection.recv, None)

    def measure(self, request):
        request.put(self.process.pid)
        return peer_loop.streamed(self.chunks, self.CHUNKS, request)


class Pool(OneByOne):
    def __init__(self):
        self.pool = multiprocessing.Pool(1)
        self.pid = self.pool.apply(os.getpid)

    def call(self, message):
        return self.pool.apply(increment, (message,))


class Executor(OneByOne):
    def __init__(self):
        from concurrent.futures import ProcessPoolExecutor

        self.executor = ProcessPoolExecutor(1)
        self.pid = self.executor.submit(os.getpid).result()

    def call(self, message):
        return self.executor.submit(increment, message).result()


class Map:
    """The best of several chunk sizes in each round. What is timed is map() alone: messages are made before, answers are checked afterwards."""

    CALLS = 100_000
    CHUNKS = (100, 1000, 5000, 25000)

    def __init__(self):
        self.pool = multiprocessing.Pool(2)
        source = peer_loop.numbers(1)
        self.messages = [{"x": next(source)} for _ in range(self.CALLS)]
        self.expected = [(True, increment(message)) for message in self.messages]

    def run(self, chunk):
        start = time.perf_counter_ns()
        answers = self.pool.map(attempt, self.messages, chunk)
        spent = time.perf_counter_ns() - start
        if answers != self.expected:
            raise RuntimeError("wrong answer")
        return spent

    def measure(self, request):
        request.put(*[child.pid for child in multiprocessing.active_children()])
        self.run(self.CHUNKS[1])
        best = None
        for chunk in self.CHUNKS:
            samples, end = [], time.perf_counter_ns() + request.milliseconds * 1_000_000
            while len(samples) < 2 or time.perf_counter_ns() < end:
                samples.append(self.run(chunk))
            samples.sort()
            if best is None or samples[len(samples) // 2] < best[len(best) // 2]:
                best = samples
        return peer_loop.sampled(best, len(best) * self.CALLS * 1e9 / sum(best), self.CALLS)


if __name__ == "__main__":
    peer_loop.serve({"pipe": Pipe, "pipe-stream": PipeStream, "pool": Pool, "executor": Executor, "map": Map}[sys.argv[1]])
