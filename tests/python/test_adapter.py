"""Finding, describing and starting adapters."""

import sys

import bridge_host
import pytest
from bridge_host import TIMEOUT
from snakepit_bridge import BaseAdapter, SnakepitError, tool
from snakepit_bridge._commands import commands_of, describe_tools
from snakepit_bridge._loader import load, split
from snakepit_bridge.adapter import find_tools, spec_of


@pytest.fixture(autouse=True)
def clean_modules():
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("adapter", "other_adapter") or name.startswith("snakepit_adapter_"):
            del sys.modules[name]


# ---- names ----


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.py", ("a.py", "")),
        ("a.py:C", ("a.py", "C")),
        ("m", ("m", "")),
        ("p.m:C", ("p.m", "C")),
        ("/x:y/a.py", ("/x:y/a.py", "")),
    ],
)
def test_split(text, parts):
    assert split(text) == parts


def invalid(text):
    with pytest.raises(SnakepitError) as caught:
        load(str(text))
    assert caught.value.code == "adapter_invalid"
    return str(caught.value) + " ".join(caught.value.suggestions)


def test_files(write):
    path = write("class Only:\n    pass\nclass _Hidden:\n    pass\n")
    assert load(str(path)).__name__ == "Only"
    assert load(f"{path}:_Hidden").__name__ == "_Hidden"
    assert "no class 'Gone'" in invalid(f"{path}:Gone")
    assert "does not exist" in invalid(path.parent / "gone.py")


def test_one_class_is_needed(write):
    assert "no public class" in invalid(write("x = 1\n"))
    message = invalid(write("class A:\n    pass\nclass B:\n    pass\n"))
    assert "A, B" in message and ":A" in message
    assert load(str(write("class A:\n    pass\nclass Trouble(Exception):\n    pass\n"))).__name__ == "A"
    source = "from snakepit_bridge import BaseAdapter\nclass Helper:\n    pass\nclass Mine(BaseAdapter):\n    pass\n"
    assert load(str(write(source))).__name__ == "Mine"


def test_modules(write, monkeypatch):
    path = write("from json import JSONDecoder\nclass Only:\n    pass\n", "other_adapter.py")
    monkeypatch.syspath_prepend(str(path.parent))
    assert load("other_adapter").__name__ == "Only"
    assert load("other_adapter:Only").__name__ == "Only"
    assert "no module" in invalid("there_is_no_such_module")
    assert "no module" in invalid("json.there_is_none")
    assert "is no adapter" in invalid("not a name")
    assert "empty" in invalid("")


def test_the_folder_of_the_file_is_on_the_path(write):
    write("VALUE = 42\n", "neighbour.py")
    path = write("import neighbour\nclass C:\n    def value(self):\n        return neighbour.VALUE\n")
    with bridge_host.Host(path, cwd="/") as w:
        w.ready()
        assert w.call("value") == 42


def test_two_classes_of_the_same_file_in_one_worker(write):
    path = write("class A:\n    def me(self):\n        return 'A'\nclass B:\n    def me(self):\n        return 'B'\n")
    with bridge_host.Host(f"{path}:B") as w:
        w.ready()
        assert w.call("me") == "B"


# ---- @tool ----


def test_tool_bare_and_with_options():
    class C(BaseAdapter):
        @tool
        def plain(self, a, b=2, *rest, c, d=4, **more):
            """Does this.

            And that."""

        @tool(name="other.name", description="text", timeout_ms=5, idempotent=True, parameters=[{"name": "z"}])
        async def named(self):
            pass

        @tool
        @staticmethod
        def static(x):
            pass

        @classmethod
        @tool
        def of_class(cls, x: int = 1):
            pass

        def not_a_tool(self):
            pass

    tools = {t["name"]: t for t in describe_tools(C())}
    assert list(tools) == ["plain", "other.name", "static", "of_class"]
    plain = tools["plain"]
    assert plain["description"] == "Does this."
    assert [(p["name"], p["required"], p["kind"]) for p in plain["parameters"]] == [
        ("a", True, "positional"),
        ("b", False, "positional"),
        ("rest", False, "var_positional"),
        ("c", True, "keyword"),
        ("d", False, "keyword"),
        ("more", False, "var_keyword"),
    ]
    assert [p.get("default") for p in plain["parameters"]] == [None, 2, None, None, 4, None]
    named = tools["other.name"]
    assert (named["description"], named["timeout_ms"], named["idempotent"]) == ("text", 5, True)
    assert named["parameters"] == [{"name": "z", "required": False, "kind": "keyword"}]
    assert [p["name"] for p in tools["static"]["parameters"]] == ["x"]
    assert tools["of_class"]["parameters"] == [
        {"name": "x", "required": False, "kind": "positional", "default": 1, "type": "int"}
    ]


def test_wrapped_methods_are_described():
    import functools

    def deco(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            return fn(*args, **kwargs)

        return inner

    class C(BaseAdapter):
        @tool
        @deco
        def f(self, a, *, b="x"):
            pass

    assert [(p["name"], p["required"], p["kind"]) for p in C().get_tools()[0]["parameters"]] == [
        ("a", True, "positional"),
        ("b", False, "keyword"),
    ]


def test_a_default_that_cannot_leave_is_left_out():
    class C(BaseAdapter):
        @tool
        def f(self, a=object(), b=[lambda: 1], c="x" * 10000):  # noqa: B006, B008
            pass

    assert describe_tools(C())[0]["parameters"] == [
        {"name": "a", "required": False, "kind": "positional"},
        {"name": "b", "required": False, "kind": "positional"},
        {"name": "c", "required": False, "kind": "positional"},
    ]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä", 5])
def test_bad_names(name):
    with pytest.raises(ValueError, match="a tool's name"):
        tool(name=name)(lambda self: None)


@pytest.mark.parametrize("timeout", [0, -1, 1.5, True])
def test_bad_timeouts(timeout):
    with pytest.raises(ValueError, match="timeout_ms"):
        tool(name="n", timeout_ms=timeout)(lambda self: None)


def test_inheritance():
    class Base(BaseAdapter):
        @tool
        def a(self):
            return "base"

        @tool
        def b(self):
            return "base"

    class Derived(Base):
        def a(self):
            return "derived"

        b = None

        @tool
        def c(self):
            return "c"

    assert list(find_tools(Derived)) == ["c", "a"]
    d = Derived()
    assert d.call_tool("a") == "derived"
    with pytest.raises(LookupError):
        d.call_tool("b")


def test_two_tools_of_one_name():
    class C(BaseAdapter):
        @tool(name="x")
        def a(self):
            pass

        @tool(name="x")
        def b(self):
            pass

    with pytest.raises(ValueError, match="two tools"):
        find_tools(C)


def test_spec_of_odd_things():
    class Odd:
        def __getattr__(self, name):
            raise RuntimeError("no")

    assert spec_of(Odd()) is None
    assert spec_of(5) is None


# ---- plain classes ----


def test_the_methods_of_a_plain_class():
    class Base:
        def inherited(self):
            pass

    class C(Base):
        constant = 5

        class Inner:
            pass

        def method(self):
            pass

        @property
        def prop(self):
            raise AssertionError("never read")

        @staticmethod
        def static():
            pass

        @classmethod
        def of_class(cls):
            pass

        def _private(self):
            pass

        lam = lambda self: 1  # noqa: E731

        @tool(name="renamed")
        def with_tool(self):
            pass

    assert list(commands_of(C)) == ["method", "static", "of_class", "lam", "renamed", "inherited"]


def test_a_plain_class_in_a_worker(worker):
    w = worker(
        """
        class Simple:
            made = 0

            def __init__(self):
                Simple.made += 1

            def hello(self, name):
                return f"Hello, {name}"

            def initialize(self):
                return "a command like any other"

            def _hidden(self):
                return 1

            @property
            def prop(self):
                return 1

            def count(self):
                return self.made
        """
    )
    assert w.call("hello", "World") == "Hello, World"
    assert w.call("count") == 1
    assert w.call("initialize").startswith("a command")
    for name in ("_hidden", "prop", "__init__", "made", "__class__"):
        assert w.error(name)["code"] == "tool_not_found"


def test_only_tools_of_an_adapter_are_commands(worker):
    w = worker(
        """
        from snakepit_bridge import BaseAdapter, tool
        class C(BaseAdapter):
            @tool
            def yes(self):
                return 1
            def no(self):
                return 2
        """
    )
    assert w.call("yes") == 1
    for name in ("no", "cleanup", "initialize", "get_tools", "call_tool"):
        assert w.error(name)["code"] == "tool_not_found"


# ---- starts that fail ----


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("class A:\n    pass\nclass B:\n    pass\n", "adapter_invalid", "A, B"),
        ("def broken(:\n", "adapter_init_failed", "SyntaxError"),
        ("import there_is_no_such_module\nclass A:\n    pass\n", "adapter_init_failed", "there_is_no_such_module"),
        ("import sys\nsys.exit(3)\n", "adapter_init_failed", "SystemExit"),
        ("class A:\n    def __init__(self):\n        raise ValueError('no weights')\n", "adapter_init_failed", "no weights"),
        ("class A:\n    def __init__(self, model):\n        pass\n", "adapter_init_failed", "model"),
        (
            "from snakepit_bridge import BaseAdapter\nclass A(BaseAdapter):\n    async def initialize(self):\n        1 / 0\n",
            "adapter_init_failed",
            "ZeroDivisionError",
        ),
        (
            "from snakepit_bridge import BaseAdapter, tool\nclass A(BaseAdapter):\n"
            "    @tool(name='x')\n    def a(self): pass\n    @tool(name='x')\n    def b(self): pass\n",
            "adapter_init_failed",
            "two tools",
        ),
        (
            "class Bad(Exception):\n    def __str__(self):\n        raise RuntimeError\n"
            "class A:\n    def __init__(self):\n        raise Bad()\n",
            "adapter_init_failed",
            "Bad",
        ),
    ],
    ids=["two classes", "syntax", "import", "exit", "constructor", "parameter", "initialize", "twice", "mute"],
)
def test_failed_starts(worker, source, code, words):
    w = worker(source, ready=False)
    payload = w.failed()
    assert payload["code"] == code
    assert words in payload["message"]
    if code == "adapter_init_failed":
        assert payload["python"]["type"] and payload["python"]["traceback"]
        assert "snakepit_bridge/" not in payload["python"]["traceback"]
        assert not payload["python"]["traceback"].split("\n")[1].startswith('  File "<frozen')


def test_a_missing_file(tmp_path):
    with bridge_host.Host(tmp_path / "gone.py") as w:
        assert w.failed()["code"] == "adapter_invalid"


def test_the_host_closes_during_the_start(write):
    with bridge_host.Host(write("class A:\n    pass\n")) as w:
        w.recv_frame()
        w.control.close()
        assert w.process.wait(TIMEOUT) == 0
