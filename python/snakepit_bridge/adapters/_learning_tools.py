"""The machine learning group of ``Showcase``.

A pipeline is a small map that says what was chosen so far (rows, seed, scale, degree, keep, model, epochs, rate). Each tool takes one and gives it back with
its own choices added: so the steps of a pipeline may run in different workers, each of which comes to the same numbers. What a pipeline does not say has
a default.

Thread: the lane's.
"""

from __future__ import annotations

from ..adapter import tool
from . import _learning as learning
from ._binary import tensor
from ._counted import Counted, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULTS: dict[str, Any] = {
    "rows": 150, "seed": 42, "scale": "standard", "degree": 1, "keep": 0, "model": "logistic", "epochs": 60, "rate": 0.5, "test_share": 0.25,
}  # fmt: skip
_KEPT = 8  # trained models


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} is a number from {least} to {most}, not {value!r}")
    return float(value)


def _choice(name: str, value: Any, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {' or '.join(choices)}, not {value!r}")


def complete(pipeline: dict[str, Any] | None, **chosen: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline with what was chosen now; the same with a default for all that it does not say, checked."""
    said = {**(pipeline or {}), **{key: value for key, value in chosen.items() if value is not None}}
    unknown = sorted(map(repr, set(said) - set(_DEFAULTS)))
    if unknown:
        raise ValueError(f"a pipeline has no {', '.join(unknown)}; it has {', '.join(_DEFAULTS)}")
    p = {**_DEFAULTS, **said}
    within("rows", p["rows"], 12, 20_000)
    within("seed", p["seed"], -(1 << 63), (1 << 63) - 1)
    within("degree", p["degree"], 1, 3)
    within("keep", p["keep"], 0, 1000)
    within("epochs", p["epochs"], 1, 10_000)
    _number("rate", p["rate"], 1e-6, 100)
    _number("test_share", p["test_share"], 0.01, 0.9)
    _choice("scale", p["scale"], "standard", "minmax", "none")
    _choice("model", p["model"], "logistic", "centroids")
    return said, p


def _fit(p: dict[str, Any], rows: list[list[float]], labels: list[int]) -> learning.Model:
    return learning.Model(rows, labels, p["scale"], p["degree"], p["keep"], p["model"], p["epochs"], p["rate"])


def _row(features: Any) -> list[float]:
    """A row, given as numbers in order or by their names."""
    if isinstance(features, dict):
        missing = [name for name in learning.FEATURES if name not in features]
        if missing:
            raise ValueError(f"the features lack {', '.join(missing)}")
        features = [features[name] for name in learning.FEATURES]
    row = [_number("a feature", value, -1e6, 1e6) for value in features]
    if len(row) != len(learning.FEATURES):
        raise ValueError(f"a row has {len(learning.FEATURES)} features ({', '.join(learning.FEATURES)}), not {len(row)}")
    return row


class LearningTools(Counted):
    """load_sample_data, preprocess_data, generate_features, select_features, train_model, cross_validate, predict_single,
    predict_batch_with_embeddings"""

    def __init__(self) -> None:
        super().__init__()
        self._trained: dict[tuple[Any, ...], tuple[learning.Model, list[list[int]], int]] = {}

    def _train(self, p: dict[str, Any]) -> tuple[learning.Model, list[list[int]], int]:
        """The model, how it did on rows that it had not seen, and on how many it was trained."""
        key = tuple(p[name] for name in _DEFAULTS)
        if key not in self._trained:
            rows, labels = learning.flowers(p["rows"], p["seed"])
            train, test = learning.split(len(rows), p["test_share"], p["seed"])
            model = _fit(p, [rows[i] for i in train], [labels[i] for i in train])
            table = model.confusion([rows[i] for i in test], [labels[i] for i in test])
            while len(self._trained) >= _KEPT:
                del self._trained[next(iter(self._trained))]
            self._trained[key] = model, table, len(train)
        return self._trained[key]

    @tool(idempotent=True)
    def load_sample_data(
        self, rows: int | None = None, seed: int | None = None, pipeline: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Measurements of flowers of three kinds, made from a seed: a pipeline's beginning."""
        self.count("load_sample_data")
        said, p = complete(pipeline, rows=rows, seed=seed)
        data, labels = learning.flowers(p["rows"], p["seed"])
        return {
            "pipeline": said,
            "rows": len(data),
            "features": learning.FEATURES,
            "classes": learning.CLASSES,
            "per_class": [labels.count(k) for k in range(len(learning.CLASSES))],
            "preview": [{"features": row, "class": learning.CLASSES[k]} for row, k in zip(data[:5], labels)],
        }

    @tool(idempotent=True)
    def preprocess_data(self, scale: str | None = None, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """Brings the columns to the same range: standard, minmax or none."""
        self.count("preprocess_data")
        said, p = complete(pipeline, scale=scale)
        rows, _ = learning.flowers(p["rows"], p["seed"])
        shift, divide = learning.scaling(rows, p["scale"])
        after = [[(x - s) / d for x, s, d in zip(row, shift, divide)] for row in rows]
        means = [sum(column) / len(after) for column in zip(*after)]
        return {"pipeline": said, "shift": shift, "divide": divide, "means": means, "preview": after[:5]}

    @tool(idempotent=True)
    def generate_features(self, degree: int | None = None, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """Adds products of up to `degree` columns."""
        self.count("generate_features")
        said, p = complete(pipeline, degree=degree if degree is not None else (pipeline or {}).get("degree", 2))
        names = [name for name, _ in learning.terms(learning.FEATURES, p["degree"])]
        return {"pipeline": said, "features": names, "before": len(learning.FEATURES), "after": len(names)}

    @tool(idempotent=True)
    def select_features(self, keep: int | None = None, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """Keeps the features that tell the classes apart best, by their F-score."""
        self.count("select_features")
        said, p = complete(pipeline, keep=keep if keep is not None else (pipeline or {}).get("keep", 3))
        model, _, _ = self._train(p)
        scores = {name: score for (name, _), score in zip(model.terms, model.scores)}
        return {"pipeline": said, "selected": model.names(), "scores": scores}

    @tool(idempotent=True)
    def train_model(
        self,
        model: str | None = None,
        epochs: int | None = None,
        rate: float | None = None,
        test_share: float | None = None,
        pipeline: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Trains a classifier (logistic or centroids), and tries it on rows that it has not seen."""
        self.count("train_model")
        said, p = complete(pipeline, model=model, epochs=epochs, rate=rate, test_share=test_share)
        trained, table, n = self._train(p)
        return {
            "pipeline": said,
            "model": p["model"],
            "features": trained.names(),
            "trained_on": n,
            "tested_on": sum(map(sum, table)),
            "accuracy": learning.accuracy(table),
            "confusion": table,
            "classes": learning.CLASSES,
            "losses": trained.losses,
        }

    @tool(idempotent=True)
    def cross_validate(self, folds: int = 5, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """Trains as often as there are folds, each time without one of them, on which the model is tried."""
        self.count("cross_validate")
        said, p = complete(pipeline)
        rows, labels = learning.flowers(p["rows"], p["seed"])
        parts = learning.folds(len(rows), within("folds", folds, 2, min(20, len(rows) // 3)), p["seed"])
        scores = []
        for part in parts:
            left = set(part)
            train = [i for i in range(len(rows)) if i not in left]
            model = _fit(p, [rows[i] for i in train], [labels[i] for i in train])
            scores.append(learning.accuracy(model.confusion([rows[i] for i in part], [labels[i] for i in part])))
        mean = sum(scores) / len(scores)
        deviation = (sum((s - mean) ** 2 for s in scores) / len(scores)) ** 0.5
        return {"pipeline": said, "folds": folds, "scores": scores, "mean": mean, "deviation": deviation}

    @tool(idempotent=True)
    def predict_single(self, features: Any, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """The kind of one flower, given as four numbers or as a map of them."""
        self.count("predict_single")
        _, p = complete(pipeline)
        row = _row(features)
        model, _, _ = self._train(p)
        chances = model.probabilities(row)
        best = chances.index(max(chances))
        return {
            "class": learning.CLASSES[best],
            "confidence": chances[best],
            "probabilities": dict(zip(learning.CLASSES, chances)),
        }

    @tool(idempotent=True)
    def predict_batch_with_embeddings(self, batch: list[Any], pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
        """The kinds of several flowers; and as a tensor what the classifier saw of each."""
        self.count("predict_batch_with_embeddings")
        _, p = complete(pipeline)
        rows = [_row(features) for features in batch]
        model, _, _ = self._train(p)
        seen = [model.features(row) for row in rows]
        chances = [model.probabilities(row) for row in rows]
        return {
            "predictions": [{"class": learning.CLASSES[c.index(max(c))], "confidence": max(c)} for c in chances],
            "embeddings": tensor("f32", [len(rows), len(model.kept)], [x for row in seen for x in row]),
            "features": model.names(),
        }
