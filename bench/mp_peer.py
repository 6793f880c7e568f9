"""multiprocessing measured by itself: Pipe and Pool, the same payload, pinned as told.

Reads lines "pipe|pool PLACE CPU_A CPU_B MILLISECONDS" and answers each with one line: "ok COUNT RATE QUANTILES..." (ns), or "error TEXT"."""

import multiprocessing
import os
import sys
import time

FRACTIONS = (0.0, 0.10, 0.50, 0.90, 0.99, 0.999, 1.0)
MOST = 200_000


def increment(message):
    return {"x": message["x"] + 1}


def pipe_child(connection):
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        connection.send(increment(message))


class Pipe:
    def __init__(self):
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=pipe_child, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.pid = self.process.pid

    def call(self, message):
        self.connection.send(message)
        return self.connection.recv()


class Pool:
    def __init__(self):
        self.pool = multiprocessing.Pool(1)
        self.pid = self.pool.apply(os.getpid)

    def call(self, message):
        return self.pool.apply(increment, (message,))


def place(pid, cpus):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cpus)


def loop(call, milliseconds, seed):
    now = time.perf_counter_ns
    samples = []
    before = start = now()
    end = start + milliseconds * 1_000_000
    while before < end and len(samples) < MOST:
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        n = (seed >> 8) % 1_000_000
        if call({"x": n})["x"] != n + 1:
            raise RuntimeError("wrong answer")
        after = now()
        samples.append(after - before)
        before = after
    return samples, (before - start) / 1e9, seed


def measure(peer, words):
    where, first, second, milliseconds = words[0], int(words[1]), int(words[2]), int(words[3])
    place(os.getpid(), {first})
    place(peer.pid, {second if where == "two" else first})
    _, _, seed = loop(peer.call, milliseconds // 10, 1)
    samples, seconds, _ = loop(peer.call, milliseconds, seed)
    samples.sort()
    quantiles = [samples[int(f * (len(samples) - 1))] for f in FRACTIONS]
    return f"ok {len(samples)} {len(samples) / seconds:.1f} " + " ".join(str(q) for q in quantiles)


def main():
    peers = {"pipe": Pipe(), "pool": Pool()}
    for line in sys.stdin:
        words = line.split()
        try:
            answer = measure(peers[words[0]], words[1:])
        except Exception as problem:  # the benchmark prints it
            answer = f"error {type(problem).__name__}: {problem}".replace("\n", " ")
        print(answer, flush=True)


if __name__ == "__main__":
    main()
