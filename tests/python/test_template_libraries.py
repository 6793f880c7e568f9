"""Real libraries in a template: what they compute in its workers is what they compute here, cold and warm.

SNAKEPIT_TEMPLATE_FORKS: how many workers of each template (default 3). What is not installed is skipped by name.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
from package_kit import plain
from template_adapters import LIBRARIES, THREADED, source
from template_guard import PREPARE, Template, Worker, needs_fork

pytestmark = needs_fork
LIGHT = ("none", "numpy", "scipy")
FORKS = int(os.environ.get("SNAKEPIT_TEMPLATE_FORKS", "3"))


def need(*modules):
    for name in modules:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def expected():
    """What a library computes in a process of its own."""
    known = {}

    def compute(name, adapter):
        if name not in known:
            code = (
                f"import sys; sys.path.insert(0, {str(adapter.parent)!r}); import {adapter.stem} as a; print(repr(a.compute()))"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PREPARE, check=True)
            known[name] = float(done.stdout.split()[-1])
        return known[name]

    return compute


@pytest.mark.parametrize("state", ["cold", "warm"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in LIGHT else plain) for name in LIBRARIES])
def test_library(write, expected, name, state):
    modules, _ = LIBRARIES[name]
    need(*modules)
    adapter = write(source(name, state == "warm"), f"adapter_{name}.py")
    wanted = expected(name, adapter)
    with Template(adapter, welcome={"canary_timeout_ms": 120_000}) as template:
        template.ready()
        for _ in range(FORKS):
            with Worker(template) as worker:
                worker.control.settimeout(PREPARE)
                worker.ready()
                assert worker.call("compute") == pytest.approx(wanted)
                assert worker.stop() == 0


@plain
@pytest.mark.parametrize("name", THREADED)
def test_openmp_with_threads_in_the_template(write, name):
    """Whatever the limits say, warm_up() may ask for more threads: they end before the fork, and start again in the worker."""
    modules, text = THREADED[name]
    need(*modules)
    with Template(write(text, f"adapter_{name}.py"), welcome={"canary_timeout_ms": 120_000}) as template:
        template.ready()
        for _ in range(FORKS):
            with Worker(template) as worker:
                worker.control.settimeout(PREPARE)
                worker.ready()
                assert worker.call("compute") > 1


@plain
def test_limits_of_threads_are_the_pools(write):
    need("numpy", "sklearn", "threadpoolctl")
    adapter = write(
        """
        import numpy as np, sklearn.cluster, threadpoolctl
        class A:
            @classmethod
            def warm_up(cls):
                np.ones((300, 300)) @ np.ones((300, 300))
            def limits(self):
                return {f"{part['user_api']}-{i}": part["num_threads"] for i, part in enumerate(threadpoolctl.threadpool_info())}
            def dot(self):
                return float((np.ones((300, 300)) @ np.ones((300, 300))).sum())
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as narrow, Worker(template, env={"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}) as wide:
            narrow.ready()
            wide.ready()
            assert set(narrow.call("limits").values()) == {1}
            limits = wide.call("limits")
            assert {name.split("-")[0]: n for name, n in limits.items()} == {"blas": 2, "openmp": 3}
            assert wide.call("dot") == narrow.call("dot") == 27e6


def test_random_numbers_of_numpy_differ(write):
    need("numpy")
    adapter = write(
        """
        import numpy as np
        np.random.rand()
        class A:
            def numbers(self):
                return [float(np.random.rand()), float(np.random.default_rng().random())]
        """
    )
    with Template(adapter) as template:
        template.ready()
        drawn = set()
        for _ in range(3):
            with Worker(template) as worker:
                worker.ready()
                drawn.update(worker.call("numbers"))
        assert len(drawn) == 6


def test_random_numbers_of_torch_differ(write):
    need("torch")
    with Template(
        write("import torch\ntorch.rand(1)\nclass A:\n    def number(self): return float(torch.rand(1))")
    ) as template:
        template.ready()
        drawn = set()
        for _ in range(3):
            with Worker(template) as worker:
                worker.ready()
                drawn.add(worker.call("number"))
        assert len(drawn) == 3


@plain
def test_a_thread_of_arrow_is_named(write):
    need("pyarrow")
    adapter = write(
        """
        import pyarrow as pa
        class A:
            @classmethod
            def warm_up(cls):
                pa.table({"x": list(range(10_000))}).group_by("x").aggregate([("x", "sum")])
        """
    )
    with Template(adapter) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["module"]) == ("thread", "pyarrow"), verdict
        assert verdict["library"].startswith("libarrow")


@pytest.mark.parametrize("name", ["numba", "polars"])
def test_refused_by_name(write, name):
    need(name)
    with Template(write(f"import {name}\nclass A: pass")) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["module"]) == ("refused_library", name)
