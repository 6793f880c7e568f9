"""The worker of digits.c: a classifier of handwritten digits.

scikit-learn ships 1,797 scans of 8 by 8 pixels with 16 shades each. The first half trains the classifier when the worker starts; the
program gets the second half, written by other people, and sends it back image by image.
"""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC


class Digits:
    def __init__(self):
        scans = load_digits()
        pixels, labels = scans.data, scans.target
        half = len(labels) // 2
        begin = time.perf_counter()
        self._model = SVC(gamma=0.001).fit(pixels[:half], labels[:half])
        self._trained_in = time.perf_counter() - begin
        self._trained_on = half
        self._pixels = pixels[half:].astype(np.uint8)
        self._labels = labels[half:].astype(np.uint8)

    def images(self):
        """The scans that the classifier has not seen: 64 bytes each, and a byte for what each really is."""
        return {
            "count": len(self._labels),
            "trained_on": self._trained_on,
            "trained_in": self._trained_in,
            "pixels": self._pixels.tobytes(),
            "labels": self._labels.tobytes(),
        }

    def classify(self, image: bytes) -> int:
        pixels = np.frombuffer(image, dtype=np.uint8).reshape(1, 64).astype(np.float64)
        return int(self._model.predict(pixels)[0])

    def classify_carefully(self, image: bytes, seconds: float) -> int:
        """The same answer, after a long look: time enough to be killed in the middle of it."""
        time.sleep(seconds)
        return self.classify(image)
