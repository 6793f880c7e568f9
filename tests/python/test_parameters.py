"""Typed parameters: what a declaration may say, what passes, and what the caller of a tool is told."""

import array

import pytest
from bridge_host import ERROR
from snakepit_bridge import BaseAdapter, tool
from snakepit_bridge._parameters import ParameterError, checked, validate


def look(entry, value):
    """The problem with a value, "" when there is none."""

    class A(BaseAdapter):
        @tool(parameters=[{"name": "p", **entry}])
        def f(self, p):
            return p

    try:
        assert A().call_tool("f", value) is value
    except ValueError as exc:
        assert exc.code == "invalid_parameter" and exc.details == {"parameter": "p"}
        return str(exc)
    return ""


NAN = float("nan")


@pytest.mark.parametrize(
    ("entry", "good", "bad"),
    [
        ({"type": "float"}, [1, 1.5, NAN], [True, "1", None, [1]]),
        ({"type": "float", "min": 0, "max": 2}, [0, 2, 0.5], [-0.1, 2.1, NAN]),
        ({"type": "integer"}, [1, -(2**70)], [1.0, True, "1", None]),
        ({"type": "integer", "min": 1, "max": 3}, [1, 3], [0, 4]),
        ({"type": "string"}, ["", "x"], [b"x", 1, None]),
        ({"type": "string", "min_length": 1, "max_length": 3}, ["a", "abc"], ["", "abcd"]),
        ({"type": "string", "choices": ["a", "b"]}, ["a"], ["c"]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "choice", "choices": ["a", 1, None]}, ["a", 1, None, 1.0], ["b", True, 2, [1]]),
        ({"type": "module"}, ["numpy.linalg", "dspy"], ["", "a b", "a..b", 5]),
        ({"type": "module", "allowed_modules": ["dspy.Predict"]}, ["dspy.Predict"], ["dspy", "os"]),
        ({"type": "embedding"}, [[], [1, 2.5], (1,)], [["a"], [[1]], "ab", 5, None]),
        ({"type": "embedding", "dimensions": 2}, [[1, 2]], [[1], [1, 2, 3]]),
        ({"type": "tensor"}, [[[1, 2], [3, 4]], 5], ["x", [[1], [1, 2]], [["a"]], {}, None]),
        ({"type": "tensor", "shape": [None, 2]}, [[[1, 2]], [[1, 2]] * 3], [[1, 2], [[1]], [[[1, 2]]]]),
        ({"type": "whatever"}, [1, "x", None], []),
        ({"type": int}, [1, "x", None], []),
        ({"description": "it", "kind": "keyword"}, [1], []),
        ({}, [1, None], []),
        ({"type": "integer", "default": None}, [1, None], ["x"]),
        ({"type": "integer", "required": False}, [1, None], ["x"]),
    ],
    ids=str,
)
def test_values(entry, good, bad):
    for value in good:
        assert look(entry, value) == "", value
    for value in bad:
        problem = look(entry, value)
        assert "'p'" in problem, value


def test_arrays():
    np = pytest.importorskip("numpy")
    zeros = np.zeros((2, 3), "f4")
    assert look({"type": "tensor", "shape": [2, -1], "dtype": "f32"}, zeros) == ""
    assert look({"type": "tensor", "dtype": "float32"}, zeros) == ""
    assert "dtype f64" in look({"type": "tensor", "dtype": "f64"}, zeros)
    assert "[2, 4]" in look({"type": "tensor", "shape": [2, 4]}, zeros)
    assert look({"type": "embedding", "dimensions": 3}, zeros[0]) == ""
    assert "vector" in look({"type": "embedding"}, zeros)
    assert look({"type": "embedding"}, memoryview(array.array("f", [1, 2]))) == ""


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "float"},
        {"name": "", "type": "float"},
        {"name": "p", "type": "float", "min": "x"},
        {"name": "p", "type": "float", "min": True},
        {"name": "p", "type": "float", "min": 2, "max": 1},
        {"name": "p", "type": "float", "choices": [1]},
        {"name": "p", "type": "string", "min": 1},
        {"name": "p", "type": "string", "max_length": -1},
        {"name": "p", "type": "string", "min_length": 2, "max_length": 1},
        {"name": "p", "type": "choice"},
        {"name": "p", "type": "choice", "choices": []},
        {"name": "p", "type": "choice", "choices": "abc"},
        {"name": "p", "type": "module", "allowed_modules": [1]},
        {"name": "p", "type": "embedding", "dimensions": 1.5},
        {"name": "p", "type": "tensor", "shape": 3},
        {"name": "p", "type": "tensor", "shape": [-2]},
        {"name": "p", "type": "tensor", "dtype": 5},
        {"name": 5},
        {"name": "p", "type": 5},
        {"name": "p", "type": None},
        {"name": "p", "type": "int", "min": 3},
        {"name": "p", "type": int, "min": 3},
        {"name": "p", "min": 3},
        {"name": "p", "type": "integer", "minimum": 3},
        {"name": "p", "unheard_of": 3},
        {"name": "p", 5: 3},
        {"name": "p", "required": "yes"},
        {"name": "p", "description": 5},
        {"name": "p", "kind": "odd"},
        "p",
        5,
        None,
    ],
    ids=str,
)
def test_bad_declarations(entry):
    with pytest.raises(ValueError, match="parameter"):
        tool(name="f", parameters=[entry])(lambda self, p: p)


@pytest.mark.parametrize(
    "how",
    [
        {"parameters": {"x": "int"}},
        {"parameters": "x"},
        {"parameters": 5},
        {"parameters": [{"name": "x"}, {"name": "x"}]},
        {"required_variables": "abc"},
        {"required_variables": [5]},
        {"description": 5},
    ],
    ids=str,
)
def test_a_wrong_declaration_names_its_tool(how):
    with pytest.raises(ValueError, match="tool 'f'"):
        tool(name="f", **how)(lambda self, x: x)


@pytest.mark.parametrize("what", ["greet", 5, property(lambda self: 1)], ids=["text", "number", "property"])
def test_what_is_no_method(what):
    with pytest.raises(TypeError, match="above a method"):
        tool(what)


def test_what_was_meant():
    with pytest.raises(ValueError, match="did you mean 'min'"):
        tool(name="f", parameters=[{"name": "p", "type": "integer", "minimum": 1}])(lambda self, p: p)
    with pytest.raises(ValueError, match="checked: float, integer"):
        tool(name="f", parameters=[{"name": "p", "type": "int", "min": 1}])(lambda self, p: p)


def test_what_is_not_checked_stays_as_it_is():
    class Spec:
        parameters = ({"name": "x"}, {"name": "y", "type": "str"}, {"name": "z", "type": "int"})

    def f(x):
        return x

    assert validate("f", [{"name": "x"}, {"name": "y", "type": str}, {"name": "z", "type": int}]) == Spec.parameters
    assert checked(f, Spec) is f


def test_wrapped_and_variable_arguments():
    import functools

    def wrap(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            return fn(*args, **kwargs)

        return inner

    class A(BaseAdapter):
        @tool(parameters=[{"name": "b", "type": "integer"}])
        @wrap
        def wrapped(self, a, b=1):
            return b

        @tool(parameters=[{"name": "b", "type": "integer"}])
        def many(self, a, *rest, b=1, **more):
            return b

        @staticmethod
        @tool(parameters=[{"name": "b", "type": "integer"}])
        def static(a, b=1):
            return b

    a = A()
    for name in ("wrapped", "static"):
        assert a.call_tool(name, "x", 2) == a.call_tool(name, "x", b=2) == 2
        with pytest.raises(ParameterError):
            a.call_tool(name, "x", "y")
    assert a.call_tool("many", 1, "x", "y", b=3, c="z") == 3
    with pytest.raises(ParameterError):
        a.call_tool("many", 1, b="x")


def test_what_has_to_be_there():
    class A(BaseAdapter):
        @tool(parameters=[
            {"name": "a", "type": "integer"},
            {"name": "b", "type": "integer", "required": True},
            {"name": "c", "type": "integer", "required": False},
            {"name": "d", "type": "integer"},
            {"name": "rest", "type": "string"},
        ])  # fmt: skip
        def f(self, a, b=1, c=2, *rest, d):
            return a, b, c, d

        @tool(parameters=[{"name": "x", "type": "integer"}, {"name": "y", "type": "integer", "required": True}])
        def g(self, **more):
            return more

    a = A()
    assert a.call_tool("f", 1, 2, d=3) == (1, 2, 2, 3) and a.call_tool("g", y=1) == {"y": 1}
    for name, args, keywords, missing in (
        ("f", (), {"b": 1, "d": 1}, "a"), ("f", (1,), {"d": 1}, "b"), ("f", (1, 2), {}, "d"), ("g", (), {"x": 1}, "y"),
    ):  # fmt: skip
        with pytest.raises(ParameterError) as caught:
            a.call_tool(name, *args, **keywords)
        assert caught.value.details == {"parameter": missing}


SOURCE = """
    from snakepit_bridge import BaseAdapter, tool

    class A(BaseAdapter):
        ran = 0

        @tool(parameters=[
            {"name": "temperature", "type": "float", "min": 0, "max": 2, "description": "how wild"},
            {"name": "mode", "type": "choice", "choices": ["fast", "good"], "default": "fast"},
        ])
        def predict(self, temperature, mode="fast"):
            A.ran += 1
            return [temperature, mode, A.ran]

        @tool(parameters=[{"name": "n", "type": "integer"}])
        async def later(self, n):
            return n
"""


def test_a_caller_is_told(worker):
    w = worker(SOURCE)
    described = {entry["name"]: entry["parameters"] for entry in w.tools}
    assert described["predict"][0]["max"] == 2 and described["predict"][1]["choices"] == ["fast", "good"]
    assert w.call("predict", 1) == [1, "fast", 1]
    error = w.error("predict", temperature=2.5)
    assert error["code"] == "invalid_parameter"
    assert error["details"] == {"parameter": "temperature"}
    assert error["message"] == "the parameter 'temperature' must be at most 2, not 2.5"
    assert w.error("predict", 1, "slow")["details"] == {"parameter": "mode"}
    assert w.error("predict", "x")["code"] == "invalid_parameter"
    error = w.error("predict")
    assert (error["code"], error["details"]) == ("invalid_parameter", {"parameter": "temperature"})
    assert error["message"] == "the parameter 'temperature' is missing"
    assert w.error("predict", mode="good")["details"] == {"parameter": "temperature"}
    assert w.call("predict", temperature=0, mode="good") == [0, "good", 2]
    assert w.call("later", 5) == 5
    w.send_call("later", 1.5)
    kind, _, _, value = w.answer()
    assert (kind, value["code"]) == (ERROR, "invalid_parameter")


def test_a_wrong_declaration_ends_the_start(worker):
    w = worker(
        """
        from snakepit_bridge import BaseAdapter, tool

        class A(BaseAdapter):
            @tool(parameters=[{"name": "p", "type": "float", "min": "low"}])
            def f(self, p): pass
        """,
        ready=False,
    )
    error = w.failed()
    assert error["code"] == "adapter_init_failed" and "min of the parameter 'p'" in error["message"]


def test_descriptions_are_completed_by_the_signature(worker):
    w = worker(
        """
        from snakepit_bridge import BaseAdapter, tool

        class A(BaseAdapter):
            @tool(parameters=[
                {"name": "a"}, {"name": "b", "type": int}, {"name": "c", "default": object()}, {"name": "d", "required": False},
                {"name": "e", "type": "choice", "choices": [object, 1]}, {"name": "f"}, {"name": "more", "required": True},
            ])
            def f(self, a, b=2, c=3, *, d, e=1, f: float = object(), **rest):
                return [a, b, type(c).__name__]

            @tool(parameters=[{"name": "x"}])
            def g(self, x=object): pass
        """
    )
    described = {t["name"]: {p.pop("name"): p for p in t["parameters"]} for t in w.tools}
    assert described["f"] == {
        "a": {"required": True, "kind": "positional"},
        "b": {"required": False, "kind": "positional", "default": 2, "type": "int"},
        "c": {"required": False, "kind": "positional"},
        "d": {"required": False, "kind": "keyword"},
        "e": {"required": False, "kind": "keyword", "default": 1, "type": "choice"},
        "f": {"required": False, "kind": "keyword", "type": "float"},
        "more": {"required": True, "kind": "keyword"},
    }
    assert described["g"] == {"x": {"required": False, "kind": "positional"}}
    assert w.call("f", 1, d=0) == [1, 2, "int"]
