"""Values there and back in the process of a worker: the C extension against json and marshal.

Asked for WHAT = CODEC-VALUE: "snakepit-floats", "json-floats", "snakepit-dict", "marshal-dict". A sample is as many encodings and decodings as take some
microseconds; each answer is held against the value."""

import importlib
import json
import marshal
import random
import sys
import time

import peer_loop


def floats(chance):
    return [chance.random() * 1000 for _ in range(1000)]


def section(chance):
    """Ten leaves of the kinds that arguments and results are made of."""
    return {
        "name": "".join(chance.choice("abcdefghij") for _ in range(12)),
        "id": chance.randrange(1 << 40),
        "count": chance.randrange(100),
        "score": chance.random(),
        "valid": chance.random() < 0.5,
        "label": chance.choice(("cat", "dog", "none")),
        "box": {"x": chance.randrange(4000), "y": chance.randrange(4000), "width": chance.random(), "height": chance.random()},
    }


def nested(chance):
    """50 leaves in dicts of dicts."""
    return {f"section_{i}": section(chance) for i in range(5)}


VALUES = {"floats": (floats, 4), "dict": (nested, 50)}  # how it is made, how many there are of it in a sample


class Codecs:
    def __init__(self):
        sys.path.insert(0, sys.argv[1])
        try:
            extension = importlib.import_module("snakepit_bridge._snakepit")
        except ImportError as problem:
            raise peer_loop.Missing(f"the extension is not to be had: {problem}") from None
        self.codecs = {
            "snakepit": (extension.encode, extension.decode),
            "json": (json.dumps, json.loads),
            "marshal": (marshal.dumps, marshal.loads),
        }
        chance = random.Random(1)
        self.values = {name: [make(chance) for _ in range(n)] for name, (make, n) in VALUES.items()}

    def measure(self, request):
        codec, _, kind = request.what.partition("-")
        encode, decode = self.codecs[codec]
        values, now = self.values[kind], time.perf_counter_ns
        request.put()
        for milliseconds in (request.milliseconds // 10, request.milliseconds):
            samples, end = [], now() + milliseconds * 1_000_000
            while now() < end:
                start = now()
                answers = [decode(encode(value)) for value in values]
                samples.append(now() - start)
                if answers != values:
                    raise RuntimeError("wrong answer")
        return peer_loop.sampled(samples, len(samples) * len(values) * 1e9 / sum(samples), len(values))


if __name__ == "__main__":
    peer_loop.serve(Codecs)
