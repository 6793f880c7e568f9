"""current_context() and session_context."""

import struct
import time

import pytest
import snakepit_bridge
from bridge_host import RESULT, TIMEOUT, frame, payload_of
from snakepit_bridge import Cancelled, SessionContext, _codec, current_context
from snakepit_bridge._wire import FIELD_CORRELATION, FIELD_METADATA

HEALTH, HEALTH_REPLY = 50, 51

ADAPTER = """
import asyncio, time
from snakepit_bridge import BaseAdapter, current_context, tool

def ids():
    c = current_context()
    return [c.session_id, c.correlation_id]

class C(BaseAdapter):
    async def initialize(self):
        self.kept = None
        self.background = asyncio.ensure_future(self._watch())
        self.seen = []

    async def _watch(self):
        try:
            while True:
                await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
                try:
                    self.seen.append(current_context().correlation_id)
                except RuntimeError:
                    pass
        except asyncio.CancelledError:
            pass

    @tool
    def sync(self):
        return ids()

    @tool
    async def later(self):
        await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
        return await asyncio.gather(self._inner(), asyncio.to_thread(ids))

    async def _inner(self):
        return ids()

    @tool
    async def leave_a_task(self):
        self.go = asyncio.Event()
        async def late():
            await self.go.wait()
            return ids()
        self.task = asyncio.ensure_future(late())

    @tool
    async def collect(self):
        self.go.set()
        return await self.task

    @tool
    async def overheard(self):
        for _ in range(1000):
            await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
        return self.seen

    @tool
    def keep(self):
        self.kept = self.session_context
        return self.kept.correlation_id

    @tool
    def look(self):
        return self.kept.correlation_id

    @tool
    def left(self):
        return self.session_context.deadline

    @tool
    def cancelled(self):
        return self.session_context.cancelled()

    @tool
    def check(self):
        self.session_context.check()
        return "not"

    @tool
    def until_cancelled(self, here):
        open(here, "w").close()
        while not self.session_context.cancelled():
            pass
        return True

    @tool
    def until_check_raises(self, here):
        open(here, "w").close()
        while True:
            self.session_context.check()

    @tool
    def check_swallowed(self):
        try:
            while True:
                self.session_context.check()
        except Exception:
            return "swallowed"

    @tool
    async def runs_out(self):
        while current_context().deadline > 0:
            await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
        current_context().check()
        return "not"

    @tool
    def in_a_thread(self):
        import threading
        out = []
        def body():
            try:
                out.append(ids())
            except RuntimeError:
                out.append("none")
        t = threading.Thread(target=body); t.start(); t.join()
        return out[0]

    @tool
    def in_a_copy(self, ask=True, go=None):
        # Runs in a thread of its own, in a copy of this call's context, and waits there for the file `go`.
        import contextvars, os, threading
        out = []
        def body():
            while go is not None and not os.path.exists(go):
                time.sleep(0.001)  # allow-sleep: between two looks
            try:
                out.append(ids())
            except RuntimeError:
                out.append("none")
        if ask:
            current_context()
        t = threading.Thread(target=contextvars.copy_context().run, args=(body,)); t.start()
        self.left_behind = t, out
        if go is None:
            t.join()
            return out[0]

    @tool
    def left_behind_says(self, go):
        open(go, "w").close()
        self.left_behind[0].join()
        return self.left_behind[1][0]

    @tool
    def in_a_loop_of_its_own(self):
        self.session_context
        async def both():
            return await asyncio.gather(self._inner(), asyncio.to_thread(ids))
        return asyncio.run(both())

    @tool
    async def async_in_a_copy(self):
        import contextvars
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(None, run, ids)

    def health(self):
        try:
            return {"status": "ok", "seen": current_context().correlation_id}
        except RuntimeError:
            return {"status": "ok", "seen": None}

    def execute_tool(self, name, args, ctx):
        return [name, args, ctx.session_id]
"""


def test_outside_a_call():
    with pytest.raises(RuntimeError):
        current_context()
    with pytest.raises(RuntimeError):
        _ = snakepit_bridge.BaseAdapter().session_context


def test_ids_are_the_callers_or_generated(worker):
    w = worker(ADAPTER)
    fields = [(1, "sä1".encode()), (2, b"corr-7")]
    assert w.call("sync") == [None, "sp-abcd12340000000000000001"]
    assert w.call("sync", fields=fields) == ["sä1", "corr-7"]
    assert w.call("sync", fields=fields[:1]) == ["sä1", "sp-abcd12340000000000000003"]
    assert w.call("sync") == [None, "sp-abcd12340000000000000004"]
    assert w.call("sync", fields=[(1, b"s" * 256), (2, b"c" * 60000)]) == ["s" * 256, "c" * 60000]


def test_in_tasks_and_threads_of_an_async_call(worker):
    w = worker(ADAPTER)
    mine = ["s", "c"]
    assert w.call("later", fields=[(1, b"s"), (2, b"c")]) == [mine, mine]


def test_a_task_that_outlives_its_call_keeps_its_context(worker):
    w = worker(ADAPTER)
    w.call("leave_a_task", fields=[(1, b"first"), (2, b"c1")])
    assert w.call("collect", fields=[(1, b"second"), (2, b"c2")]) == ["first", "c1"]


def test_a_task_of_initialize_sees_no_call(worker):
    w = worker(ADAPTER)
    w.call("later")
    assert w.call("overheard") == []


def test_a_thread_of_a_sync_call_sees_no_call(worker):
    assert worker(ADAPTER).call("in_a_thread") == "none"


def test_a_thread_in_a_copy_of_the_context(worker):
    w = worker(ADAPTER)
    for command in ("in_a_copy", "async_in_a_copy"):
        for i in range(3):
            assert w.call(command, fields=[(1, b"s%d" % i), (2, b"c")]) == [f"s{i}", "c"]
    assert w.call("in_a_copy", False, fields=[(1, b"x"), (2, b"c")]) == "none"
    mine = ["s", "c"]
    assert w.call("in_a_loop_of_its_own", fields=[(1, b"s"), (2, b"c")]) == [mine, mine]


def test_a_copy_never_shows_another_call(worker, tmp_path):
    w = worker(ADAPTER)
    for ask, told in ((True, ["first", "c1"]), (False, "none")):
        go = str(tmp_path / f"go{ask}")
        w.call("in_a_copy", ask, go, fields=[(1, b"first"), (2, b"c1")])
        assert w.call("left_behind_says", go, fields=[(1, b"second"), (2, b"c2")]) == told


def test_no_context_is_left_when_the_call_has_ended(worker):
    w = worker(ADAPTER)
    w.call("in_a_copy")
    w.send(frame(HEALTH, id=1))
    if w.lane is not None:
        w.lane.ring_bell()
    kind, _, _, reply = payload_of(w.recv_frame())
    assert (kind, reply["report"]["seen"]) == (HEALTH_REPLY, None)


def test_a_context_that_was_kept(worker):
    w = worker(ADAPTER)
    assert w.call("keep") == w.call("look")


def test_deadline(worker):
    w = worker(ADAPTER)
    assert w.call("left") is None
    left = w.call("left", stamp=time.monotonic_ns() + 60 * 10**9)
    assert 0 < left <= 60
    assert w.call("cancelled", stamp=time.monotonic_ns() + 60 * 10**9) is False


def test_a_deadline_that_passes(worker):
    w = worker(ADAPTER)
    error = w.error("runs_out", stamp=time.monotonic_ns() + 20_000_000)
    assert error["code"] == "deadline_exceeded"
    error = w.error("check_swallowed", stamp=time.monotonic_ns() + 20_000_000)
    assert error["code"] == "deadline_exceeded"


def test_cancelled_by_the_host(worker, tmp_path):
    w = worker(ADAPTER)
    assert w.call("cancelled") is False
    for command, told in (("until_cancelled", True), ("until_check_raises", "cancelled")):
        here = tmp_path / command
        id = w.send_call(command, str(here))
        until = time.monotonic() + TIMEOUT
        while not here.exists():  # a call that is marked as started may not have begun, and be cancelled before it does
            assert time.monotonic() < until
            time.sleep(0.001)  # allow-sleep: between two looks
        w.segment.cancel(id)
        kind, answered, _, value = w.answer()
        assert (answered, value if kind == RESULT else value["code"]) == (id, told)
    assert value["python"]["type"] == "snakepit_bridge._errors.Cancelled"
    assert w.call("check") == "not"


def test_a_call_that_was_cancelled_before_it_began_never_runs(worker):
    w = worker(ADAPTER)
    w.segment.cancel(2)
    assert w.call("keep")
    assert w.error("look")["code"] == "cancelled"
    assert w.call("look")
    w.segment.cancel(4)
    assert w.error("runs_out")["code"] == "cancelled"
    assert w.call("check") == "not"


def test_the_catch_all(worker):
    w = worker(ADAPTER)
    assert w.call("anything", a=1, fields=[(1, b"s")]) == ["anything", {"a": 1}, "s"]
    assert w.call("anything.else", 1, 2) == ["anything.else", [1, 2], None]
    assert w.call("nothing") == ["nothing", {}, None]
    assert w.error("both", 1, a=2)["code"] == "type_error"


def test_the_object_itself():
    stopped = []
    c = SessionContext(7, 0, b"", 1 << 40 | 5, stopped.__contains__)
    assert c.correlation_id == "sp-000000050000000000000007"
    assert (c.session_id, c.deadline, c.cancelled()) == (None, None, False)
    c.check()
    stopped.append(7)
    assert c.cancelled()
    with pytest.raises(Cancelled):
        c.check()
    assert "sp-" in repr(c)
    assert not issubclass(Cancelled, Exception)


def test_metadata_and_log(caplog):
    told = _codec.encode({"tenant": "t1", "try": 2})
    fields = b"".join(
        struct.pack("<BBH", tag, 0, len(data)) + data for tag, data in ((FIELD_METADATA, told), (FIELD_CORRELATION, b"c-1"))
    )
    c = SessionContext(7, 0, fields, 0, lambda call: False)
    assert c.request_metadata == c.metadata == {"tenant": "t1", "try": 2}
    c.log.warning("slow: %d", 5)
    record = caplog.records[-1]
    assert (record.name, record.getMessage(), record.correlation_id, record.session_id) == ("snakepit", "slow: 5", "c-1", None)
    assert SessionContext(7, 0, b"", 0, lambda call: False).request_metadata == {}
