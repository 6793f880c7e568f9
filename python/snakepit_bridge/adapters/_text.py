"""What can be said of an English text without a model: for ``ml_analyze_text`` and for embeddings.

Thread: any; no state.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_SENTENCE = re.compile(r"[^.!?]*\w[^.!?]*")
_VOWELS = re.compile(r"[aeiouy]+")
_GOOD = frozenset(
    "amazing awesome beautiful best better brilliant delightful easy excellent fantastic fast fine good great happy helpful like liked "
    "love loved lovely nice perfect pleasant reliable superb thanks useful win wonderful works".split()
)
_BAD = frozenset(
    "angry annoying awful bad boring broken bug crash dislike fail failed fails hate hated horrible hurt lose poor problem sad slow "
    "terrible ugly unreliable useless worse worst wrong".split()
)
_NOT = frozenset("not no never don't doesn't didn't isn't wasn't aren't can't cannot won't".split())
_COMMON = frozenset(
    "a about after all also an and any are as at be because been but by can could did do does for from had has have he her his how i if "
    "in into is it its just like me more my no not of on one or our out she so some than that the their them then there they this to up "
    "us was we were what when which who will with would you your".split()
)


def words_of(text: str) -> list[str]:
    """The words, in small letters."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def _sentiment(words: list[str]) -> tuple[float, int, int]:
    good = bad = 0
    for i, word in enumerate(words):
        step = (word in _GOOD) - (word in _BAD)
        if step and _NOT.intersection(words[max(0, i - 2) : i]):
            step = -step
        good += step > 0
        bad += step < 0
    return ((good - bad) / (good + bad) if good + bad else 0.0), good, bad


def analyze(text: str) -> dict[str, Any]:
    """Counts, keywords, sentiment by a list of words with negation, Flesch's reading ease."""
    words = words_of(text)
    sentences = len(_SENTENCE.findall(text))
    score, good, bad = _sentiment(words)
    syllables = sum(max(1, len(_VOWELS.findall(word))) for word in words)
    ease = 206.835 - 1.015 * len(words) / max(1, sentences) - 84.6 * syllables / max(1, len(words)) if words else None
    keywords = Counter(word for word in words if word not in _COMMON and len(word) > 2)
    return {
        "characters": len(text),
        "words": len(words),
        "sentences": sentences,
        "distinct_words": len(set(words)),
        "average_word_length": round(sum(map(len, words)) / len(words), 3) if words else 0.0,
        "reading_ease": None if ease is None else round(ease, 1),
        "sentiment": {
            "label": "positive" if score > 0 else "negative" if score < 0 else "neutral",
            "score": score,
            "good": good,
            "bad": bad,
        },
        "keywords": [word for word, _ in sorted(keywords.items(), key=lambda item: (-item[1], item[0]))[:5]],
    }


def embed(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 by feature hashing: each word, and each run of three letters of it, adds to one place. Texts that share words are near."""
    vector = [0.0] * dimensions
    for word in words_of(text):
        padded = f"<{word}>"
        for feature, weight in [(word, 1.0), *((padded[i : i + 3], 0.5) for i in range(len(padded) - 2))]:
            number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "little")
            vector[number % dimensions] += weight if number >> 63 else -weight
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector] if length else vector
