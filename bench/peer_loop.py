"""What the Python peers of the benchmark share: the line protocol of peer.c, placement, and the loop that takes the samples.

A peer is asked by lines "WHAT PLACE CPU_A CPU_B MILLISECONDS" and answers each with one line: "ok COUNT RATE QUANTILES..." (ns), "skip TEXT"
when it lacks something, or "error TEXT". It ends when its standard input does."""

import os
import sys
import time

FRACTIONS = (0.0, 0.10, 0.50, 0.90, 0.99, 0.999, 1.0)
MOST = 200_000


class Missing(Exception):
    """What the peer needs is not installed."""


class Request:
    def __init__(self, what, place, first, second, milliseconds):
        self.what = what
        self.place = place  # "one" CPU together, "two": one each, "free": on both
        self.cpus = (int(first), int(second))
        self.milliseconds = int(milliseconds)

    def put(self, *pids):
        """Pins all threads of this process, and of the other side, as asked."""
        first, second = self.cpus if self.cpus[1] >= 0 else (self.cpus[0], self.cpus[0])
        sides = {"one": ({first}, {first}), "two": ({first}, {second}), "free": ({first, second}, {first, second})}
        pin(os.getpid(), sides[self.place][0])
        for pid in pids:
            pin(pid, sides[self.place][1])


def pin(pid, cpus):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(task), cpus)
        except ProcessLookupError:  # a thread that has just ended
            pass


def numbers(seed):
    """Varied numbers below a million."""
    while True:
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        yield (seed >> 8) % 1_000_000


def chained(call, milliseconds, source):
    """Calls call({"x": n}) over and over, each answer checked: the samples, and the seconds that all took."""
    now = time.perf_counter_ns
    samples = []
    before = start = now()
    end = start + milliseconds * 1_000_000
    while before < end and len(samples) < MOST:
        n = next(source)
        if call({"x": n})["x"] != n + 1:
            raise RuntimeError("wrong answer")
        after = now()
        samples.append(after - before)
        before = after
    return samples, (before - start) / 1e9


def one_by_one(call, request):
    source = numbers(1)
    chained(call, request.milliseconds // 10, source)
    samples, seconds = chained(call, request.milliseconds, source)
    return sampled(samples, len(samples) / seconds)


def sampled(samples, rate, operations=1):
    """The answer for samples of so many operations each."""
    samples.sort()
    quantiles = [samples[int(f * (len(samples) - 1))] / operations for f in FRACTIONS]
    return f"ok {len(samples) * operations} {rate:.1f} " + " ".join(f"{q:.1f}" for q in quantiles)


def streamed(chunks, n, request):
    """The answer of a peer that streams: chunks(n) gives 0 to n - 1, one stream after the other."""
    now = time.perf_counter_ns
    samples = []
    end = None  # the first one is the warm-up
    while end is None or len(samples) < 3 or now() < end:
        start, expected = now(), 0
        for chunk in chunks(n):
            if chunk != expected:
                raise RuntimeError("wrong chunk")
            expected += 1
        if expected != n:
            raise RuntimeError("chunks are missing")
        if end is None:
            end = now() + request.milliseconds * 1_000_000
        else:
            samples.append(now() - start)
    return sampled(samples, len(samples) * n * 1e9 / sum(samples), n)


def counted(count, seconds):
    """The answer of a peer that has only a rate to tell."""
    return f"ok {count} {count / seconds:.1f}" + " 0" * len(FRACTIONS)


def serve(create):
    """Answers the lines of standard input by create().measure(request); the peer is created at the first one."""
    peer = None
    for line in sys.stdin:
        try:
            if peer is None:
                peer = create()
            answer = peer.measure(Request(*line.split()))
        except (ImportError, Missing) as problem:
            answer = f"skip {problem}"
        except Exception as problem:  # the benchmark prints it
            answer = f"error {type(problem).__name__}: {problem}"
        print(answer.replace("\n", " "), flush=True)
