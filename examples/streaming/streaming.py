"""A text that comes word by word, as a language model gives it."""

import random


class Writer:
    WORDS = ("the", "quick", "old", "fox", "sees", "a", "lazy", "dog", "and", "smiles")

    def generate(self, seed: int, words: int):
        random.seed(seed)
        for _ in range(words):
            yield random.choice(self.WORDS)
        return {"words": words}
