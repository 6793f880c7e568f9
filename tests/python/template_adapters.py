"""Adapters for the tests of the template, one for each library: `compute` uses what has threads, and returns something that can be compared.

Cold: the template has imported the library. Warm: it has computed, too.
"""

import textwrap

# name: the distributions that it needs, the source; the class gets a warm_up() where a warm template is wanted.
LIBRARIES = {
    "none": ((), "def compute(): return sum(range(1000))"),
    "numpy": (("numpy",), """
        import numpy as np
        def compute():
            a = np.arange(90_000, dtype=float).reshape(300, 300)
            return float((a @ a.T).trace())
        """),
    "scipy": (("scipy",), """
        import numpy as np
        from scipy import linalg
        def compute(): return float(linalg.svdvals(np.vander(np.arange(1.0, 60.0), 5))[0])
        """),
    "kmeans": (("sklearn",), """
        import numpy as np
        from sklearn.cluster import KMeans
        def compute():
            x = np.random.RandomState(0).rand(2000, 8)
            return round(float(KMeans(4, n_init=2, random_state=0).fit(x).inertia_), 3)
        """),
    "histgradient": (("sklearn",), """
        import numpy as np
        from sklearn.ensemble import HistGradientBoostingRegressor
        def compute():
            x = np.random.RandomState(0).rand(500, 4)
            return round(float(HistGradientBoostingRegressor(max_iter=10).fit(x, x.sum(1)).score(x, x.sum(1))), 3)
        """),
    "pandas": (("pandas",), """
        import pandas as pd
        def compute(): return float(pd.DataFrame({"k": [1, 2, 1], "v": [1.0, 2.0, 3.0]}).groupby("k").v.sum().max())
        """),
    "pyarrow": (("pyarrow",), """
        import pyarrow as pa
        import pyarrow.compute as pc
        def compute(): return pc.sum(pa.array(range(1000))).as_py()
        """),
    "torch": (("torch",), """
        import torch
        def compute():
            a = torch.arange(250_000, dtype=torch.float64).reshape(500, 500)
            return float((a @ a).relu().trace())
        """),
    "xgboost": (("xgboost",), """
        import numpy as np, xgboost
        def compute():
            x = np.random.RandomState(0).rand(500, 4)
            model = xgboost.XGBRegressor(n_estimators=5).fit(x, x.sum(1))
            return round(float(model.predict(x).mean()), 2)
        """),
    "lightgbm": (("lightgbm",), """
        import numpy as np, lightgbm
        def compute():
            x = np.random.RandomState(0).rand(500, 4)
            data = lightgbm.Dataset(x, x.sum(1), params={"verbose": -1})
            return round(float(lightgbm.train({"verbose": -1}, data, 5).predict(x).mean()), 2)
        """),
    "onnxruntime": (("onnxruntime",), """
        import base64
        import numpy as np, onnxruntime
        # y = x + x, 64 floats
        MODEL = base64.b64decode("CAhCAhANOjUKDgoBeAoBeBIBeSIDQWRkEgFnWg8KAXgSCgoICAESBAoCCEBiDwoBeRIKCggIARIECgIIQA==")
        def compute():
            session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
            return float(session.run(None, {"x": np.ones(64, np.float32)})[0].sum())
        """),
}  # fmt: skip


def source(name, warm):
    """The file of an adapter."""
    text = textwrap.dedent(LIBRARIES[name][1])
    text += "\nclass Adapter:\n    def compute(self): return compute()\n"
    if warm:
        text += "    @classmethod\n    def warm_up(cls): compute()\n"
    return text


_THREADED_HEAD = """
class Adapter:
    @classmethod
    def warm_up(cls): assert cls.compute() > 1
    @classmethod
    def compute(cls):
"""


def _threaded(imports, body):
    body = textwrap.dedent(body).strip("\n") + "\nreturn len(os.listdir('/proc/self/task'))\n"
    return "import os\n" + textwrap.dedent(imports) + _THREADED_HEAD + textwrap.indent(body, " " * 8)


# Teams of several threads, in the template and in the worker; `compute` returns how many threads the process has then.
THREADED = {
    "torch": (("torch",), _threaded(
        "os.environ.update(OMP_NUM_THREADS='4', MKL_NUM_THREADS='4')\nimport torch",
        """
        (torch.rand(600, 600) @ torch.rand(600, 600)).relu().sum()
        torch.rand(1000, 1000).sin().sum()
        """,
    )),
    "kmeans": (("sklearn", "threadpoolctl"), _threaded(
        """
        import numpy as np, threadpoolctl
        from sklearn.cluster import KMeans
        """,
        """
        with threadpoolctl.threadpool_limits(4, "openmp"):
            KMeans(4, n_init=1, random_state=0).fit(np.random.RandomState(0).rand(5000, 8))
        """,
    )),
    "xgboost": (("xgboost",), _threaded(
        "os.environ['OMP_NUM_THREADS'] = '4'\nimport numpy as np, xgboost",
        """
        x = np.random.RandomState(0).rand(20_000, 4)
        xgboost.XGBRegressor(n_estimators=3, n_jobs=4).fit(x, x.sum(1))
        """,
    )),
    "lightgbm": (("lightgbm",), _threaded(
        "import numpy as np, lightgbm",
        """
        x = np.random.RandomState(0).rand(2000, 4)
        data = lightgbm.Dataset(x, x.sum(1), params={"verbose": -1, "num_threads": 4})
        lightgbm.train({"verbose": -1, "num_threads": 4}, data, 3)
        """,
    )),
}  # fmt: skip
