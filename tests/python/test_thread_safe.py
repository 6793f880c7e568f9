"""ThreadSafeAdapter, thread_safe_method; configure_logging, get_logger."""

import io
import logging
import threading

import pytest
from snakepit_bridge import ThreadSafeAdapter, configure_logging, get_logger, thread_safe_method, tool
from snakepit_bridge.adapter import find_tools
from snakepit_bridge.thread_safe import is_thread_safe

ADAPTER = """
    import threading
    from snakepit_bridge import ThreadSafeAdapter, thread_safe_method, tool

    class Shared(ThreadSafeAdapter):
        def __init__(self):  # without super().__init__()
            self.total = 0

        @tool
        @thread_safe_method
        def add(self, n):
            with self.track_request("add"), self.acquire_lock(), self.acquire_lock():
                self.total += n
                return self.total

        @thread_safe_method
        @tool(name="keep")
        def keep_it(self, value):
            before = self.get_thread_local("kept", "nothing")
            self.set_thread_local("kept", value)
            return before

        @tool
        async def kept_later(self):
            return self.get_thread_local("kept")

        @tool
        def stats(self):
            return self.get_stats()
"""


def in_threads(n, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_in_a_worker(worker):
    w = worker(ADAPTER)
    assert [t["name"] for t in w.tools] == ["add", "keep", "kept_later", "stats"]
    assert [p["name"] for p in w.tools[0]["parameters"]] == ["n"]
    assert [w.call("add", 1), w.call("add", 2)] == [1, 3]
    assert [w.call("keep", "a"), w.call("keep", "b"), w.call("kept_later")] == ["nothing", "a", "b"]
    counted = {"requests": 2, "running": 0, "failed": 0}
    assert w.call("stats") == {**counted, "most_running": 1, "by_name": {"add": counted}}


class Plain(ThreadSafeAdapter):
    @tool
    @thread_safe_method
    def one(self):
        pass

    @thread_safe_method
    @tool
    def other(self):
        pass

    @tool
    @thread_safe_method
    @staticmethod
    def static():
        pass

    @thread_safe_method
    @classmethod
    @tool
    def of_class(cls):
        pass

    @tool
    def unmarked(self):
        pass


def test_the_mark_in_either_order():
    assert list(find_tools(Plain)) == ["one", "other", "static", "of_class", "unmarked"]
    assert [is_thread_safe(vars(Plain)[name]) for name in ("one", "other", "static", "of_class", "unmarked")] == [True] * 4 + [
        False
    ]
    assert Plain.__thread_safe__ is True


def test_each_thread_keeps_its_own():
    a, seen = Plain(), {}

    def work(i):
        a.set_thread_local("x", i)
        a.set_thread_local("y", -i)
        a.clear_thread_local("y")
        seen[i] = a.get_thread_local("x"), a.get_thread_local("y", "gone")
        a.clear_thread_local()
        assert a.get_thread_local("x") is None
        a.clear_thread_local("never there")

    in_threads(8, work)
    assert seen == {i: (i, "gone") for i in range(8)}
    assert a.get_thread_local("x") is None
    assert a.set_thread_local("x", 5) == 5 and Plain().get_thread_local("x") is None


def test_the_lock_keeps_others_out():
    a = Plain()
    inside = []

    def work(i):
        for _ in range(200):
            with a.acquire_lock(), a.acquire_lock():
                inside.append(i)
                assert len(inside) == 1
                inside.clear()

    in_threads(4, work)


def test_what_is_tracked():
    a, barrier = Plain(), threading.Barrier(3)

    def work(i):
        try:
            with a.track_request("meet"):
                barrier.wait(60)
                if i == 0:
                    raise ValueError("no")
        except ValueError:
            pass

    in_threads(3, work)
    with a.track_request():
        running = a.get_stats()["running"]
    stats = a.get_stats()
    assert running == 1 and (stats["requests"], stats["running"], stats["failed"], stats["most_running"]) == (4, 0, 1, 3)
    assert stats["by_name"]["meet"] == {"requests": 3, "running": 0, "failed": 1}


# ---- logging ----


@pytest.fixture
def quiet(monkeypatch):
    logger = logging.getLogger("snakepit")
    kept = logger.level, logger.propagate, list(logger.handlers)
    monkeypatch.delenv("SNAKEPIT_LOG_LEVEL", raising=False)
    yield monkeypatch
    logger.level, logger.propagate, logger.handlers[:] = kept
    logger.manager._clear_cache()


def lines_at(level):
    out = io.StringIO()
    configure_logging(level, out, "%(levelname)s %(name)s %(message)s")
    for name in ("debug", "info", "warning", "error"):
        getattr(get_logger("mine"), name)("hello")
    return [line.split()[0].lower() for line in out.getvalue().splitlines()]


def test_levels(quiet):
    order = ["debug", "info", "warning", "error"]
    for i, level in enumerate([*order, "none"]):
        assert lines_at(level) == order[i:]
    assert lines_at("ERROR") == ["error"] and lines_at(logging.INFO) == order[1:]
    assert lines_at(None) == order[2:]
    quiet.setenv("SNAKEPIT_LOG_LEVEL", "debug")
    assert lines_at(None) == order
    quiet.setenv("SNAKEPIT_LOG_LEVEL", "nonsense")
    assert lines_at(None) == order[2:]
    for bad in ("loud", "", 1.5, True):
        with pytest.raises(ValueError, match="level is one of"):
            configure_logging(bad)


def test_configured_twice_it_writes_once(quiet):
    out = io.StringIO()
    other = logging.NullHandler()
    get_logger().addHandler(other)
    configure_logging("info", io.StringIO())
    configure_logging("info", out, "%(message)s")
    get_logger().info("once")
    assert out.getvalue() == "once\n" and other in get_logger().handlers
    assert (get_logger().name, get_logger("a.b").name) == ("snakepit", "snakepit.a.b")


def test_names_of_a_subclass_are_its_own():
    class Busy(ThreadSafeAdapter):
        def __init__(self):
            self._lock = self._own = self._counting = self._counts = self._running = self._most = None

        def _count(self):
            raise AssertionError("this is ours")

    busy = Busy()
    with busy.track_request("x"), busy.acquire_lock():
        assert busy.set_thread_local("key", 1) == busy.get_thread_local("key") == 1
        assert busy.get_stats()["running"] == 1
    busy.clear_thread_local()
    assert busy.get_stats()["requests"] == 1 and vars(busy)["_lock"] is None
