"""A small machine learning pipeline in plain Python: sample data, scaling, polynomial features, selection by F-score, softmax regression and
nearest centroids, cross-validation. Deterministic: all that is random comes from the seed.

Invariant: what a step learns (means, scores, weights) it learns from the training rows alone.

Thread: any; no state.
"""

from __future__ import annotations

import math
import random
from itertools import combinations_with_replacement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Row = list[float]
    Rows = list[Row]

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
CLASSES = ["setosa", "versicolor", "virginica"]
_CENTRES = [(5.0, 3.4, 1.5, 0.25), (5.9, 2.8, 4.3, 1.3), (6.6, 3.0, 5.6, 2.0)]
_SPREAD = [(0.35, 0.38, 0.17, 0.1), (0.5, 0.3, 0.47, 0.2), (0.63, 0.32, 0.55, 0.27)]


def flowers(rows: int, seed: int) -> tuple[Rows, list[int]]:
    """Measurements of flowers of three kinds, and which kind each is."""
    numbers = random.Random(seed)
    labels = [i % len(CLASSES) for i in range(rows)]
    return [[numbers.gauss(m, s) for m, s in zip(_CENTRES[k], _SPREAD[k])] for k in labels], labels


def split(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indexes of the training rows and of the test rows."""
    order = list(range(n))
    random.Random(seed).shuffle(order)
    test = max(1, round(n * share))
    return order[test:], order[:test]


def folds(n: int, k: int, seed: int) -> list[list[int]]:
    """The indexes in k parts of nearly the same size."""
    order = list(range(n))
    random.Random(seed).shuffle(order)
    return [order[i::k] for i in range(k)]


def _columns(rows: Rows) -> list[tuple[float, ...]]:
    return list(zip(*rows))


def scaling(rows: Rows, how: str) -> tuple[Row, Row]:
    """What to take away from each column, and what to divide it by: standard (mean, deviation), minmax (least, range) or none."""
    columns = _columns(rows)
    if how == "none":
        return [0.0] * len(columns), [1.0] * len(columns)
    if how == "minmax":
        return [min(c) for c in columns], [(max(c) - min(c)) or 1.0 for c in columns]
    means = [sum(c) / len(c) for c in columns]
    return means, [math.sqrt(sum((x - m) ** 2 for x in c) / len(c)) or 1.0 for c, m in zip(columns, means)]


def terms(names: list[str], degree: int) -> list[tuple[str, tuple[int, ...]]]:
    """The columns and their products of up to `degree` factors: a name, and which columns to multiply."""
    return [
        ("*".join(names[i] for i in picked), picked)
        for d in range(1, degree + 1)
        for picked in combinations_with_replacement(range(len(names)), d)
    ]


def f_scores(rows: Rows, labels: list[int]) -> Row:
    """For each column the variance between the classes by the variance within them."""
    found, k, n = [], len(set(labels)), len(rows)
    for column in _columns(rows):
        mean = sum(column) / n
        between = within = 0.0
        for label in set(labels):
            own = [x for x, y in zip(column, labels) if y == label]
            centre = sum(own) / len(own)
            between += len(own) * (centre - mean) ** 2
            within += sum((x - centre) ** 2 for x in own)
        found.append((between / max(1, k - 1)) / ((within / max(1, n - k)) or 1e-12))
    return found


def softmax(scores: Row) -> Row:
    top = max(scores)
    powers = [math.exp(s - top) for s in scores]
    total = sum(powers)
    return [p / total for p in powers]


def _logistic(
    rows: Rows, labels: list[int], classes: int, epochs: int, rate: float
) -> tuple[Callable[[Row], Row], list[float]]:
    """Softmax regression by gradient descent: gives the probabilities of a row; and the loss after each tenth of the way."""
    width = len(rows[0]) + 1
    weights = [[0.0] * width for _ in range(classes)]
    data = [[*row, 1.0] for row in rows]
    losses = []
    for epoch in range(epochs):
        gradient = [[0.0] * width for _ in range(classes)]
        loss = 0.0
        for row, label in zip(data, labels):
            p = softmax([sum(w * x for w, x in zip(line, row)) for line in weights])
            loss -= math.log(max(p[label], 1e-300))
            for k in range(classes):
                error, line = p[k] - (k == label), gradient[k]
                for j in range(width):
                    line[j] += error * row[j]
        for line, steps in zip(weights, gradient):
            for j in range(width):
                line[j] -= rate * (steps[j] / len(data) + 1e-4 * line[j])
        if epoch % max(1, epochs // 10) == 0 or epoch == epochs - 1:
            losses.append(loss / len(data))
    return lambda row: softmax([sum(w * x for w, x in zip(line, [*row, 1.0])) for line in weights]), losses


def _centroids(rows: Rows, labels: list[int], classes: int) -> Callable[[Row], Row]:
    """Nearest centre of a class; the probabilities fall with the distance."""
    centres = []
    for k in range(classes):
        own = [row for row, label in zip(rows, labels) if label == k]
        centres.append([sum(c) / len(c) for c in _columns(own)] if own else None)

    def predict(row: Row) -> Row:
        return softmax([-math.dist(row, centre) if centre is not None else -1e9 for centre in centres])

    return predict


class Model:
    """Scaling, features, selection and classifier, learnt from rows."""

    def __init__(
        self, rows: Rows, labels: list[int], scale: str, degree: int, keep: int, kind: str, epochs: int, rate: float
    ) -> None:
        self.shift, self.divide = scaling(rows, scale)
        self.terms = terms(FEATURES, degree)
        wide = [self._widen(row) for row in rows]
        self.scores = f_scores(wide, labels)
        best = sorted(range(len(self.terms)), key=lambda i: (-self.scores[i], i))
        self.kept = sorted(best[: keep or len(best)])
        narrow = [[row[i] for i in self.kept] for row in wide]
        # products of columns have other ranges than the columns: the descent wants them alike
        self.shift2, self.divide2 = scaling(narrow, "none" if scale == "none" else "standard")
        ready = [self._level(row) for row in narrow]
        self.losses: list[float] = []
        if kind == "centroids":
            self._predict = _centroids(ready, labels, len(CLASSES))
        else:
            self._predict, self.losses = _logistic(ready, labels, len(CLASSES), epochs, rate)

    def _widen(self, row: Row) -> Row:
        scaled = [(x - s) / d for x, s, d in zip(row, self.shift, self.divide)]
        return [math.prod(scaled[i] for i in picked) for _, picked in self.terms]

    def _level(self, row: Row) -> Row:
        return [(x - s) / d for x, s, d in zip(row, self.shift2, self.divide2)]

    def features(self, row: Row) -> Row:
        """What the classifier sees of a row."""
        wide = self._widen(row)
        return self._level([wide[i] for i in self.kept])

    def names(self) -> list[str]:
        return [self.terms[i][0] for i in self.kept]

    def probabilities(self, row: Row) -> Row:
        return self._predict(self.features(row))

    def predict(self, row: Row) -> int:
        p = self.probabilities(row)
        return p.index(max(p))

    def confusion(self, rows: Rows, labels: list[int]) -> list[list[int]]:
        """How many rows of each class (a line) were taken for which (a column)."""
        table = [[0] * len(CLASSES) for _ in CLASSES]
        for row, label in zip(rows, labels):
            table[label][self.predict(row)] += 1
        return table


def accuracy(table: list[list[int]]) -> float:
    total = sum(map(sum, table))
    return sum(table[k][k] for k in range(len(table))) / total if total else 0.0
