"""How long an instance of the adapter lives, and what stands around its calls: adapter_scope, reset()."""

import pytest
from bridge_host import ERROR, FAILED, TIMEOUT, Host, frame, payload_of
from package_kit import needs_extension
from test_lanes import Lanes

HEALTH, HEALTH_REPLY = 50, 51

# What happens is written to stderr, a line each, which is read when the worker has ended.
ADAPTER = """
import asyncio, os, threading
from snakepit_bridge import BaseAdapter, current_context, tool

def say(*words):
    os.write(2, (" ".join(["said:", *map(str, words)]) + "\\n").encode())  # at once: lanes end at the same time

class C(BaseAdapter):
    adapter_scope = "{scope}"
    __thread_safe__ = True
    made = 0

    def __init__(self):
        super().__init__()
        C.made += 1
        self.number = C.made
        self.thread = threading.current_thread().name

    {how} initialize(self):
        self.started = True
        say("initialize", self.number, threading.current_thread().name)

    {how} cleanup(self):
        say("cleanup", self.number, threading.current_thread().name)

    @tool
    def who(self):
        return [self.number, self.started, self.thread]

    @tool
    async def later(self):
        say("later", self.number)
        await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
        return [self.number, self.started, current_context().session_id]

    @tool
    def fail(self):
        raise ValueError("no")

    @tool
    async def fail_later(self):
        await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
        raise ValueError("no")

    @tool
    def numbers(self):
        try:
            yield self.number
        finally:
            say("closed", self.number)

    @tool
    async def numbers_later(self):
        yield self.number

    @tool
    async def numbers_at_last(self):
        return (x for x in [self.number])

    @tool
    def sent(self, stream, inbox):
        for value in inbox:
            stream.send([self.number, value])
        return "sent"

    @tool
    async def sent_later(self, stream):
        await stream.send(self.number)

    @tool
    def endless(self):
        try:
            while True:
                yield self.number
        finally:
            say("closed", self.number)

    @tool
    async def endless_later(self):
        while True:
            yield self.number

    @tool(parameters=[{{"name": "n", "type": "integer", "min": 1}}])
    def checked(self, n):
        return [self.number, n]

    def execute_tool(self, name, args, ctx):
        return [name, self.number, ctx.session_id]

    def health(self):
        return {{"status": "ok", "number": self.number}}
"""


def source(scope="worker", how="def", extra=""):
    return ADAPTER.format(scope=scope, how=how) + extra


def said(host):
    """Ends the worker; what it has said."""
    assert host.stop() == 0
    lines = host.process.stderr.read().decode().splitlines()
    return [line[6:].split(" ") for line in lines if line.startswith("said: ")], lines


HOW = pytest.mark.parametrize("how", ["def", "async def"])


@HOW
def test_one_instance_for_a_worker(worker, how):
    w = worker(source(how=how))
    assert w.call("who") == w.call("who") == [1, True, "MainThread"]
    lines, _ = said(w)
    assert lines == [["initialize", "1", "MainThread"], ["cleanup", "1", "MainThread"]]


def test_lane_is_worker_where_there_is_one(worker):
    w = worker(source("lane"))
    assert w.call("who") == w.call("who") == [1, True, "MainThread"]
    assert [line[0] for line in said(w)[0]] == ["initialize", "cleanup"]


@HOW
def test_an_instance_for_each_request(worker, how):
    w = worker(source("request", how))
    assert [tool["name"] for tool in w.tools][:2] == ["who", "later"]
    assert w.call("who") == [2, True, "MainThread"]
    assert w.call("later", fields=[(1, b"s")]) == [3, True, "s"]
    assert w.error("fail")["code"] == "value_error"
    assert w.error("fail_later")["code"] == "value_error"
    assert w.call("checked", 1) == [6, 1]
    assert w.error("checked", 0)["code"] == "invalid_parameter"
    assert w.call("anything", fields=[(1, b"s")]) == ["anything", 8, "s"]
    assert w.call("who") == [9, True, "MainThread"]
    assert w.error("who", 1)["code"] == "type_error"
    lines, _ = said(w)
    # each is cleaned up before the next is made; the first, which only describes the tools, is neither
    expected = []
    for number in range(2, 11):
        expected += [["initialize", str(number)], *([["later", "3"]] if number == 3 else []), ["cleanup", str(number)]]
    assert [line[:2] for line in lines] == expected


@HOW
def test_a_stream_that_is_refused_is_cleaned_up(worker, how):
    w = worker(source("request", how))
    assert w.error("numbers")["code"] == "streaming_required"
    assert w.error("numbers_later")["code"] == "streaming_required"
    assert w.call("who")[0] == 4
    lines, _ = said(w)
    assert [line[:2] for line in lines] == [[what, str(n)] for n in (2, 3, 4) for what in ("initialize", "cleanup")]


@HOW
def test_an_instance_for_each_stream(worker, how):
    w = worker(source("request", how))
    assert w.open_stream("numbers").all() == [2]
    assert w.open_stream("numbers_later").all() == [3]
    assert w.open_stream("numbers_at_last").all() == [4]
    assert w.open_stream("sent_later").all() == [5]
    stream = w.open_stream("sent", inbox=True)
    stream.put("a")
    stream.end()
    assert stream.all() == [[6, "a"]] and stream.result() == "sent"
    assert w.call("who")[0] == 7
    lines, _ = said(w)
    assert [line[:2] for line in lines if line[0] != "closed"] == [
        [what, str(n)] for n in range(2, 8) for what in ("initialize", "cleanup")
    ]
    assert lines.index(["closed", "2"]) < [line[:2] for line in lines].index(["cleanup", "2"])


@HOW
@pytest.mark.parametrize("command", ["endless", "endless_later"])
def test_a_stream_that_is_cancelled_is_cleaned_up(worker, how, command):
    w = worker(source("request", how))
    stream = w.open_stream(command, window=(3, 1 << 20))
    assert [stream.next()[0] for _ in range(3)] == [2, 2, 2]
    stream.cancel()
    assert stream.all(grant=False) == []
    assert stream.error()["code"] == "cancelled"
    w.segment.cancel(0)
    assert w.call("who")[0] == 3
    lines, _ = said(w)
    assert [line[:2] for line in lines if line[0] != "closed"] == [
        [what, str(n)] for n in (2, 3) for what in ("initialize", "cleanup")
    ]


def test_a_request_that_was_cancelled_before_it_began(worker):
    w = worker(source("request", "async def"))
    w.segment.cancel(1)
    assert w.error("later")["code"] == "cancelled"
    assert w.call("later")[1] is True
    starts = [line for line in said(w)[0] if line[0] == "later"]
    assert len(starts) == 1


def test_what_a_request_cannot_do(worker):
    broken = """
    def initialize(self):
        if C.made == 2:
            raise OSError("not today")
    def cleanup(self):
        say("cleanup", self.number)
        if C.made == 3:
            raise OSError("not clean")
"""
    w = worker(source("request", extra=broken))
    error = w.error("who")
    assert error["message"] == "OSError: not today"
    assert w.error("who")["code"] == "attribute_error"  # `started` is not there
    assert w.call("anything")[1] == 4
    lines, text = said(w)
    assert [line[1] for line in lines] == ["3", "4"]  # what was never initialised is not cleaned up
    assert any("cleanup failed" in line for line in text) and any("not clean" in line for line in text)


def test_a_plain_class_for_each_request(worker):
    w = worker("""
        class C:
            adapter_scope = "request"
            made = 0
            def __init__(self):
                C.made += 1
            def count(self):
                return C.made
    """)
    assert [w.call("count"), w.call("count")] == [2, 3]


def test_the_pool_asks_for_a_scope(worker):
    w = worker(source(), welcome={"adapter_scope": "request"})
    assert [w.call("who")[0], w.call("who")[0]] == [2, 3]
    w = worker(source("request"), welcome={"adapter_scope": "worker"})
    assert [w.call("who")[0], w.call("who")[0]] == [1, 1]


@pytest.mark.parametrize("scope", ["session", "", "Worker"])
def test_a_scope_that_is_none(write, scope):
    with Host(write(source(scope))) as w:
        failure = w.failed()
    assert failure["code"] == "adapter_invalid"
    assert repr(scope) in failure["message"] and "'lane'" in failure["suggestions"][0]


def test_the_health_of_a_request_is_not_asked(worker):
    assert "health" in worker(source()).greeting["capabilities"]
    assert "health" not in worker(source("request")).greeting["capabilities"]


# ---- several lanes ----


@pytest.fixture
def lanes(write):
    hosts = []

    def make(text, **welcome):
        host = Host(write(text), channel="ring", lanes=2)
        hosts.append(host)
        host.greeting = host.ready(lanes=2, profile="thread", **welcome)
        return Lanes(host)

    yield make
    for host in hosts:
        host.__exit__()


def call(lanes, i, command, *args):
    id = lanes.send(i, command, *args)
    kind, answered, value = lanes.answer(i)
    assert (answered, kind == ERROR) == (id, False), value
    return value


@needs_extension
@HOW
def test_an_instance_for_each_lane(lanes, how):
    w = lanes(source("lane", how))
    for _ in range(2):
        assert [call(w, i, "who") for i in (0, 1)] == [[1, True, "snakepit-lane-0"], [2, True, "snakepit-lane-1"]]
    assert [call(w, i, "later")[0] for i in (0, 1)] == [1, 2]
    lines, _ = said(w.host)
    assert sorted(lines[:2]) == [["initialize", "1", "snakepit-lane-0"], ["initialize", "2", "snakepit-lane-1"]]
    assert sorted(line for line in lines if line[0] == "cleanup") == [
        ["cleanup", "1", "snakepit-lane-0"],
        ["cleanup", "2", "snakepit-lane-1"],
    ]


@needs_extension
def test_lanes_share_the_instance_of_a_worker(lanes):
    w = lanes(source())
    assert [call(w, i, "who")[0] for i in (0, 1)] == [1, 1]
    assert [line[0] for line in said(w.host)[0]] == ["initialize", "cleanup"]


@needs_extension
def test_requests_of_several_lanes(lanes):
    w = lanes(source("request"))
    assert sorted(call(w, i, "who")[0] for i in (0, 1, 0, 1)) == [2, 3, 4, 5]


@needs_extension
def test_a_lane_that_cannot_begin(write):
    broken = """
    def initialize(self):
        if self.number == 2:
            raise OSError("not the second")
"""
    with Host(write(source("lane", extra=broken)), channel="ring", lanes=2) as host:
        host.greet(lanes=2, profile="thread")
        kind, failure = host.outcome()
        assert kind == FAILED and failure["code"] == "adapter_init_failed"
        assert "not the second" in failure["message"]
        assert host.process.wait(TIMEOUT) == 1


@needs_extension
def test_the_health_of_lanes_is_that_of_the_first_that_is_ill(lanes):
    ill = """
    def health(self):
        return {"status": "ok" if self.number == 1 else "ill", "number": self.number}
"""
    w = lanes(source("lane", extra=ill)).host
    w.control.sendall(frame(HEALTH, id=3))
    kind, id, _, reply = payload_of(w.recv_frame())
    assert (kind, id, reply["ok"], reply["report"]["number"]) == (HEALTH_REPLY, 3, False, 2)


# ---- reset ----

RESET = """
import asyncio
from snakepit_bridge import BaseAdapter, tool

class C(BaseAdapter):
    __thread_safe__ = True
    {scope}

    def __init__(self):
        self.left = []
        self.fail = False

    {how} reset(self, session_id):
        {wait}
        if self.fail:
            raise OSError(f"cannot forget {{session_id}}")
        self.left.append(session_id)

    @tool
    def seen(self):
        return self.left

    @tool
    async def seen_later(self):
        return self.left

    @tool
    def seen_bit_by_bit(self):
        yield from self.left

    @tool
    def break_it(self, fail):
        self.fail = fail
"""


def reset_source(how="def", scope="pass"):
    wait = "await asyncio.sleep(0)  # allow-sleep: lets the event loop turn" if how != "def" else "pass"
    return RESET.format(how=how, wait=wait, scope=scope)


@HOW
def test_a_session_that_leaves(worker, how):
    w = worker(reset_source(how))
    a, b = [(1, b"a")], [(1, b"b")]
    for command in ("seen", "seen_later"):
        before = len(w.call(command))
        assert w.call(command, fields=a)[before:] == []
        assert w.call(command, fields=a)[before:] == []
        assert w.call(command, fields=b)[before:] == ["a"]
        assert w.call(command)[before:] == ["a", "b"]
        assert w.call(command)[before:] == ["a", "b"]
        assert w.call(command, fields=b)[before:] == ["a", "b"]
        assert w.call(command)[before:] == ["a", "b", "b"]


def test_a_session_that_leaves_before_a_stream(worker):
    w = worker(reset_source())
    assert w.open_stream("seen_bit_by_bit", fields=[(1, b"a")]).all() == []
    assert w.open_stream("seen_bit_by_bit", fields=[(1, b"b")]).all() == ["a"]
    assert w.call("seen") == ["a", "b"]


@HOW
def test_a_session_that_cannot_be_forgotten(worker, how):
    w = worker(reset_source(how))
    a, b = [(1, b"a")], [(1, b"b")]
    w.call("break_it", True, fields=a)
    for _ in range(2):  # no other session comes in before it is forgotten
        assert w.error("break_it", False, fields=b)["message"] == "OSError: cannot forget a"
    w.call("break_it", False, fields=a)
    assert w.call("seen", fields=b) == ["a"]


@needs_extension
def test_each_lane_has_its_sessions(lanes):
    w = lanes(reset_source())
    for i, session in ((0, b"a"), (1, b"b")):
        w.sequences[i] += 1
        w.lanes[i].send(frame(16, b"\xa4seen\xc0", w.sequences[i], fields=[(1, session)]))
        assert w.answer(i)[2] == []
    assert call(w, 1, "seen") == ["b"]
    assert call(w, 0, "seen") == ["b", "a"]


def test_a_class_without_reset_pays_nothing(worker):
    w = worker("""
        from snakepit_bridge import BaseAdapter, tool

        class C(BaseAdapter):
            @tool
            def loaded(self):
                import sys
                return "snakepit_bridge._scope" in sys.modules
    """)
    assert w.call("loaded") is False


@pytest.mark.parametrize("scope", ["worker", "lane", "request"])
def test_a_tool_is_no_hook(worker, scope):
    w = worker(f"""
        import os
        from snakepit_bridge import BaseAdapter, tool

        class C(BaseAdapter):
            adapter_scope = {scope!r}
            calls = 0

            @tool
            def initialize(self, what="hook"):
                C.calls += 1
                return what

            @tool
            async def cleanup(self, what="hook"):
                os.write(2, f"said: {{what}}\\n".encode())
                return C.calls
    """)
    assert w.call("initialize", "tool") == "tool"
    assert w.call("cleanup", "tool") == 1
    assert said(w)[0] == [["tool"]]


def test_an_adapter_without_tools_says_what_to_do(worker):
    w = worker("""
        from snakepit_bridge import BaseAdapter

        class C(BaseAdapter):
            def hello(self): pass
    """)
    assert w.error("hello")["suggestions"] == ["the tools are: none", "mark the methods that are to be called with @tool"]
