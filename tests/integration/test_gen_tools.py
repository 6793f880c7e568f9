"""snakepit gen adapter, snakepit tools."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from programs import LIMIT_S

FILES = ["__init__.py", "adapter.py", "handlers/__init__.py", "handlers/greetings.py", "test_adapter.py"]
TOOLS = '''
from snakepit_bridge import BaseAdapter, tool

class Shop(BaseAdapter):
    @tool(idempotent=True, timeout_ms=250)
    def price(self, item: str, n: int = 1, *more, currency="EUR", **options) -> float:
        """What it costs.

        And more about that."""

    @tool
    def watch(self, item, *, since=object()):
        yield 1

    @tool(name="shop.close", description="caf\\u00e9 \\x1b[31m closes", parameters=[{"name": "now", "type": "boolean"}])
    def close(self, now):
        pass
'''


@pytest.fixture
def make(snakepit, tmp_path):
    """Runs the program in a folder of its own."""
    os.makedirs(tmp_path / "here")
    return lambda *arguments, **how: snakepit(*arguments, cwd=tmp_path / "here", **how)


def files_of(folder: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def unittest_of(env, build, folder, name):
    command = [env["SNAKEPIT_PYTHON"], "-m", "unittest", f"{name}.test_adapter"]
    env = {**env, "PYTHONPATH": str(build / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("name", "cls", "options"), [("greeter", "Greeter", []), ("image_labels2", "ImageLabels2", ["--threaded"])]
)
def test_what_is_made_passes_its_own_test(make, env, build, tmp_path, name, cls, options):
    done = make("gen", "adapter", name, *options)
    assert (done.returncode, done.stderr) == (0, "")
    here = tmp_path / "here"
    assert files_of(here / name) == FILES
    assert f"class {cls}(" in (here / name / "adapter.py").read_text()
    assert not [
        path
        for path in (here / name).rglob("*.py")
        if "@" in path.read_text().replace("@tool", "").replace("@thread_safe_method", "")
    ]
    assert f"--adapter {name}.adapter" in done.stdout and str(here) in done.stdout
    assert ("profile: thread" in done.stdout) == bool(options)
    tested = unittest_of(env, build, here, name)
    assert tested.returncode == 0 and " tests in " in tested.stderr, tested.stderr
    (here / name / "handlers" / "greetings.py").write_text("def greeting(name, language='en'):\n    return name\n")
    assert unittest_of(env, build, here, name).returncode != 0  # it can fail


@pytest.mark.parametrize("options", [[], ["--threaded"]])
def test_what_is_made_can_be_called(make, options):
    assert make("gen", "adapter", "greeter", *options).returncode == 0
    called = make("call", "greet", '{"name": "World"}', "--adapter", "greeter.adapter")
    assert (called.returncode, called.stdout) == (0, '"Hello, World"\n')
    listed = make("tools", "--adapter", "greeter.adapter", "-o", "json")
    assert {tool["name"] for tool in json.loads(listed.stdout)} == {"greet", "stats"}


def test_as_json(make, tmp_path):
    told = json.loads(make("gen", "adapter", "greeter", "--threaded", "-o", "json").stdout)
    assert told == {
        "name": "greeter",
        "class": "Greeter",
        "files": [f"greeter/{file}" for file in FILES],
        "pool": {"name": "greeter", "adapter": "greeter.adapter", "profile": "thread", "python_path": [str(tmp_path / "here")]},
    }


def test_every_module_of_the_library_is_taken(make):
    """A sample of those that this Python has; each call costs a process."""
    for name in sorted(n for n in sys.stdlib_module_names if n[0] != "_" and n == n.lower())[::12]:
        assert make("gen", "adapter", name).returncode == 2, name


@pytest.mark.parametrize(
    ("name", "cls"),
    [("none", "NoneAdapter"), ("value_error", "ValueErrorAdapter"), ("base_adapter", "BaseAdapterAdapter"), ("null", "Null")],
)
def test_classes_that_would_hide_others(make, tmp_path, name, cls):
    done = make("gen", "adapter", name)
    assert done.returncode == 0 and f'  - name: "{name}"\n' in done.stdout
    assert f"class {cls}(" in (tmp_path / "here" / name / "adapter.py").read_text()
    called = make("call", "greet", '{"name": "World"}', "--adapter", f"{name}.adapter")
    assert (called.returncode, called.stdout) == (0, '"Hello, World"\n')


def test_a_folder_that_yaml_would_not_take(snakepit, tmp_path):
    here = tmp_path / 'a "b" \\ c'
    here.mkdir()
    done = snakepit("gen", "adapter", "greeter", cwd=here)
    line = next(line for line in done.stdout.splitlines() if "python_path" in line)
    assert json.loads(line.partition(":")[2]) == [str(here)]  # what has no other escapes is JSON, too


def test_nothing_is_written_over(make, tmp_path):
    here = tmp_path / "here"
    (here / "folder").mkdir()
    (here / "file").write_text("kept")
    for name in ("folder", "file"):
        done = make("gen", "adapter", name, "-o", "json")
        assert done.returncode == 1 and json.loads(done.stderr)["code"] == "already_exists"
    assert (files_of(here), (here / "file").read_text()) == (["file"], "kept")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1st",
        "a-b",
        "a/b",
        "../a",
        "class",
        "json",
        "snakepit_bridge",
        "_x",
        "é",
        "a" * 65,
        "a b",
        "array",
        "builtins",
        "shutil",
    ],
)
def test_names_that_are_none(make, tmp_path, name):
    done = make("gen", "adapter", name)
    assert (done.returncode, done.stdout) == (2, "") and repr(name)[1:-1] in done.stderr
    assert not files_of(tmp_path / "here")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing"),
        (["adapter"], "name is missing"),
        (["adaptor", "x"], "did you mean 'adapter'"),
        (["daemon", "x"], "but: adapter"),
        (["adapter", "x", "y"], "too many"),
    ],
)
def test_bad_usage(make, arguments, said):
    done = make("gen", *arguments)
    assert done.returncode == 2 and said in done.stderr


def test_a_folder_that_cannot_be_made(snakepit):
    done = snakepit("gen", "adapter", "greeter", cwd="/proc")
    assert done.returncode == 1 and "cannot be made" in done.stderr


def test_what_cannot_be_written_leaves_nothing(build, env, tmp_path):
    """No file may become larger than nothing, as on a full device."""
    command = f"trap '' XFSZ; ulimit -f 0; exec '{build / 'snakepit'}' gen adapter greeter"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1 and "cannot be written: File too large" in done.stderr
    assert not (tmp_path / "greeter").exists()


# ---- tools ----


@pytest.fixture
def shop(tmp_path, make):
    (tmp_path / "here" / "shop.py").write_text(TOOLS)
    return make


def test_the_table(shop):
    done = shop("tools", "--adapter", "shop.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NAME", "PARAMETERS", "DESCRIPTION"]
    rows = {line.split()[0]: line for line in lines[1:] if line[0] != " "}
    assert list(rows) == ["price", "shop.close", "watch"]
    assert 'item: str, n: int = 1, *more, currency="EUR", **options' in rows["price"]
    assert "What it costs. [idempotent, 250 ms]" in done.stdout and "about that" not in done.stdout
    assert "item, *, since=..." in rows["watch"] and rows["watch"].endswith("[streams]")
    assert "now: boolean  " in rows["shop.close"]


def test_the_table_as_json(shop):
    tools = {tool["name"]: tool for tool in json.loads(shop("tools", "--adapter", "shop.py", "-o", "json").stdout)}
    assert set(tools) == {"price", "watch", "shop.close"}
    price = tools["price"]
    assert (price["idempotent"], price["timeout_ms"], price["streaming"], price["description"]) == (
        True,
        250,
        False,
        "What it costs.",
    )
    assert [p["name"] for p in price["parameters"]] == ["item", "n", "more", "currency", "options"]
    assert tools["watch"]["streaming"] is True


def test_a_terminal_obeys_nothing_of_it(shop, tmp_path):
    import pty

    main, theirs = pty.openpty()
    done = shop("tools", "--adapter", "shop.py", stdout=theirs)
    os.close(theirs)
    said = b""
    try:
        while True:
            said += os.read(main, 65536)
    except OSError:
        pass
    os.close(main)
    assert done.returncode == 0 and b"\x1b[31m" not in said and b"\\u001b[31m" in said


def test_the_adapters_that_come_with_the_package(make):
    for name, some in (("Showcase", "train_model"), ("ThreadedShowcase", "stress_test"), ("Template", "greet")):
        done = make("tools", "--adapter", name)
        assert done.returncode == 0 and f"\n{some} " in done.stdout


def test_showcase_asks_the_host(make):
    """The program offers no tools of its own."""
    assert json.loads(make("call", "call_host_demo", "--adapter", "Showcase").stdout) == {"available": []}
    done = make("call", "call_host_demo", '["nothing"]', "--adapter", "Showcase", "-o", "json")
    assert done.returncode == 1 and json.loads(done.stderr)["code"] == "value_error"


def test_an_adapter_without_tools(make, tmp_path):
    (tmp_path / "here" / "none.py").write_text("class Nothing:\n    pass\n")
    done = make("tools", "--adapter", "none.py")
    assert (done.returncode, done.stdout) == (0, "") and "no tools" in done.stderr
    assert make("tools", "--adapter", "none.py", "-o", "json").stdout == "[]\n"


def test_what_cannot_be_listed(make):
    done = make("tools", "--adapter", "missing.py")
    assert done.returncode == 1 and "missing.py" in done.stderr
    assert make("tools").returncode == 3
    assert make("tools", "x", "--adapter", "Showcase").returncode == 2
