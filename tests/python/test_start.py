"""What a worker consists of before its adapter brings anything along: its size and the time of its start are made of modules."""

import pytest

# Each costs a fresh interpreter between a quarter and a whole megabyte, or milliseconds; whoever needs one of them imports it then.
HEAVY = {
    "asyncio",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "inspect",
    "json",
    "linecache",
    "logging",
    "pathlib",
    "pickle",
    "re",
    "tempfile",
    "threading",
    "tokenize",
    "traceback",
    "typing",
    "uuid",
}
# What the environment's own .pth files import is not ours: `bare` has it, too.
SOURCE = """
    import sys
    class C:
        def modules(self):
            return sorted(sys.modules)
        def fail(self):
            raise ValueError("told in full")
"""


@pytest.fixture
def bare():
    """The modules of an interpreter that runs a module with ``-m``."""
    import subprocess
    import sys

    code = "import sys, runpy; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_fresh_worker_is_small(worker, bare):
    w = worker(SOURCE)
    heavy = (set(w.call("modules")) - bare) & HEAVY
    assert not heavy


def test_an_exception_brings_what_it_needs(worker):
    w = worker(SOURCE)
    text = w.error("fail")["python"]["traceback"]
    assert 'raise ValueError("told in full")' in text and text.endswith("ValueError: told in full\n")
    assert "traceback" in w.call("modules")


@pytest.mark.parametrize("how", ["descriptors", "import", "replaced"])
def test_an_exception_is_told_without_help(worker, how):
    """No source lines then, but the frames, the type and the message."""
    w = worker(
        """
        import builtins, resource, sys
        class C:
            def descriptors(self):
                resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            def import_(self):
                def refuse(*args):
                    raise MemoryError
                builtins.__import__ = refuse
            def replaced(self):
                import traceback
                traceback.TracebackException = None
            def deep(self):
                def inner():
                    raise KeyError("gone")
                inner()
        """
    )
    w.call("import_" if how == "import" else how)
    for _ in range(2):
        error = w.error("deep")
        lines = error["python"]["traceback"].splitlines()
        assert error["code"] == "key_error" and error["python"]["type"] == "KeyError"
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "KeyError: 'gone'" and any(line.endswith(", in inner") for line in lines)
