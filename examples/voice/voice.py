"""Finds the speech in a sound, 32 ms at a time: the network of silero-vad, run by onnxruntime.

The network remembers what it has heard: a state, and the last 64 samples of the chunk before. Both belong to one conversation, so they are kept in its
generator, and one worker can listen to many. The network itself only computes, and is shared.
"""

import importlib.util
import pathlib

import numpy as np
import onnxruntime
from snakepit_bridge import BaseAdapter, tool

RATE = 16000
CHUNK, CONTEXT = 512, 64  # samples; what the network was trained with at this rate
SPOKEN = 0.5  # a chunk is speech from this probability on
PAUSE = 5  # a stretch has ended after so many chunks without speech: 160 ms, longer than the silence before a "t"


def model() -> str:
    """The network's file. The package silero_vad holds it, and would import torch, which is not needed to run it."""
    package = importlib.util.find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'silero_vad', which holds the network (pip install --no-deps silero-vad)")
    return str(pathlib.Path(package.submodule_search_locations[0]) / "data" / "silero_vad.onnx")


class Voice(BaseAdapter):
    __thread_safe__ = True  # onnxruntime's sessions are: calls share this one, and nothing else

    def initialize(self):
        # In each worker, never at import or in warm_up(): a session may start threads, and a fork of a template would lack them.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # each conversation has a thread already
        self._session = onnxruntime.InferenceSession(model(), options, providers=["CPUExecutionProvider"])

    @tool
    def listen(self, inbox):
        """Takes chunks of 512 samples (16 bits, 16 kHz, one channel); answers each stretch of speech once it has ended: where it begins and ends, in
        samples from the beginning, and how sure the network was."""
        rate = np.array(RATE, dtype=np.int64)
        state = np.zeros((2, 1, 128), dtype=np.float32)
        heard = np.zeros((1, CONTEXT + CHUNK), dtype=np.float32)
        spoken: list = []  # the probabilities of the present stretch
        begin = silent = chunks = 0
        for chunk in inbox:
            if len(chunk) != 2 * CHUNK:
                raise ValueError(f"a chunk has {CHUNK} samples of 16 bits, {2 * CHUNK} bytes; this one has {len(chunk)}")
            heard[0, :CONTEXT] = heard[0, CHUNK:]  # the context: what the last chunk ended with
            heard[0, CONTEXT:] = np.frombuffer(chunk, dtype="<i2") / np.float32(32768)
            found, state = self._session.run(None, {"input": heard, "state": state, "sr": rate})
            probability = float(found[0, 0])
            if probability >= SPOKEN:
                begin = begin if spoken else chunks
                spoken.append(probability)
                silent = 0
            elif spoken:
                silent += 1
            chunks += 1
            if silent == PAUSE:
                yield self._stretch(begin, chunks - silent, spoken)
                spoken, silent = [], 0
        if spoken:
            yield self._stretch(begin, chunks - silent, spoken)
        return {"chunks": chunks}

    @staticmethod
    def _stretch(begin, end, spoken):
        return {"begin": begin * CHUNK, "end": end * CHUNK, "probability": sum(spoken) / len(spoken)}
