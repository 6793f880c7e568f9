"""Tools of the host, called from Python: the questions, their answers, calls nested in them; the same over the rings and in pure Python."""

import pytest
from bridge_host import (
    CALL,
    CHUNK,
    CREDIT,
    ERROR,
    HEADER,
    LOG,
    NESTED,
    RESULT,
    STREAM_CALL,
    TOOL_CALL,
    TOOL_ERROR,
    TOOL_LIST,
    TOOL_RESULT,
    _codec,
    call_payload,
    frame,
    values_of,
    wait_until_started,
)
from snakepit_bridge import SessionContext

WORKER = """
    import asyncio, threading
    from snakepit_bridge import BaseAdapter, HostToolError, current_context, tool

    class Asker(BaseAdapter):
        def __init__(self):
            super().__init__()
            self.threads = []

        @tool
        def one(self, x):
            return x

        @tool
        def who(self):
            return self.session_context.session_id

        @tool
        async def awho(self):
            await asyncio.sleep(0)  # allow-sleep: a turn of the loop
            return self.session_context.session_id

        @tool
        def ask(self, name, p=None):
            return self.session_context.call_host_tool(name, p)

        @tool
        async def aask(self, name, p=None):
            return await self.session_context.acall_host_tool(name, p)

        @tool
        async def blocking(self, name, p=None):
            return self.session_context.call_host_tool(name, p)

        @tool
        def forms(self):
            c = self.session_context
            return [
                c.call_host_tool("same"), c.call_host_tool("same", {}), c.call_host_tool("same", {"a": 1}),
                c.call_host_tool("same", a=1), c.call_host_tool("same", {"a": 1}, a=2, b=3), c.call_elixir_tool("same", name=5),
                c.host_tools["same"](k=1), c.elixir_tools["same"]({"k": 2}),
            ]

        @tool
        def odd_forms(self):
            from collections import OrderedDict
            from types import MappingProxyType
            c = self.session_context
            class Text(str): pass
            many = {f"k{i}": i for i in range(40)}
            return [
                c.call_host_tool("same", OrderedDict(a=1)), c.call_host_tool("same", MappingProxyType({"a": 1})),
                c.call_host_tool("same", None, None, a=1), c.call_host_tool("same", {"a": 1}, None),
                c.call_host_tool(Text("same"), **{Text("a"): 1}), type(c).call_host_tool(c, "same", a=1),
                c.call_host_tool("same", **many) == many, c.call_host_tool("same", {(1, 2): 3}) == {(1, 2): 3},
                c.call_host_tool("same", self=1, parameters=2, binary=3, q=None),
            ]

        @tool
        def refused(self):
            c = self.session_context
            class Text(str): pass
            told = []
            for args, named in [((), {}), ((5,), {}), (("same", {}, None, 4), {}), (("same", [1]), {}), (("same", 1), {}),
                                (("same", {}, b"1"), {}), (("same", {"a": {"b": object}}), {}), (("same",), {"a": {"b": object}}),
                                (("same",), {"a": 1 << (1 << 21)}), (("same", {Text("b"): 1, "a": chr(0xD800)}), {}),
                                (("same",), {chr(0xD800): 1})]:
                try:
                    told.append(c.call_host_tool(*args, **named))
                except Exception as exc:
                    told.append([type(exc).__name__, getattr(exc, "path", None)])
            return told, c.call_host_tool("same", a=1)

        @tool
        def around(self, name, p):
            before = self.session_context.session_id
            found = self.session_context.call_host_tool(name, p)
            return [before, found, self.session_context.session_id]

        @tool
        async def aaround(self, name, p):
            before = self.session_context.session_id
            found = await self.session_context.acall_host_tool(name, p)
            return [before, found, current_context().session_id]

        @tool
        def fails(self, name):
            try:
                self.session_context.call_host_tool(name)
            except HostToolError as exc:
                return [isinstance(exc, RuntimeError), exc.code, exc.details, str(exc)]
            except ValueError as exc:
                return str(exc)

        @tool
        def listed(self):
            tools = self.session_context.host_tools
            return [sorted(tools), len(tools), "same" in tools, tools.describe("same")["description"], tools["same"].__name__]

        @tool
        def misses(self, name):
            tools = self.session_context.host_tools
            return [name in tools, name in tools]

        @tool
        def lookup(self, name):
            return self.session_context.host_tools[name]()

        @tool
        async def gather(self, n):
            c = self.session_context
            return await asyncio.gather(*[c.acall_host_tool("inc", x=i) for i in range(n)])

        @tool
        def threaded(self, n):
            c, found = self.session_context, {}
            def work(k):
                found[k] = [c.call_host_tool("inc", x=100 * k + i) for i in range(n)]
            them = [threading.Thread(target=work, args=(k,)) for k in range(4)]
            for t in them: t.start()
            for t in them: t.join()
            return [found[k] for k in range(4)]

        @tool
        def first(self, n):
            import time
            from snakepit_bridge import _socket_stream
            c, found, begin, made = self.session_context, {}, threading.Barrier(n), []
            make = _socket_stream.Inner
            def slowly(*args):
                made.append(1)
                time.sleep(0.05)  # allow-sleep: all the others come meanwhile
                return make(*args)
            _socket_stream.Inner = slowly
            def work(k):
                begin.wait()
                found[k] = c.call_host_tool("inc", x=k)
            them = [threading.Thread(target=work, args=(k,)) for k in range(n)]
            for t in them: t.start()
            for t in them: t.join()
            _socket_stream.Inner = make
            return [[found[k] for k in range(n)], len(made) <= 1]

        @tool
        def leaves_one(self):
            c, self.found, self.ended = self.session_context, [], threading.Event()
            def work():
                try:
                    self.found.append(c.call_host_tool("inc", x=1))
                    self.ended.wait()
                    c.call_host_tool("inc", x=2)
                except RuntimeError as exc:
                    self.found.append("ended" in str(exc))
            self.thread = threading.Thread(target=work)
            self.thread.start()
            return c.call_host_tool("inc", x=0)

        @tool
        def left(self):
            self.ended.set()
            self.thread.join()
            return self.found

        @tool
        def unserializable(self):
            c = self.session_context
            try:
                c.call_host_tool("same", x=object())
            except ValueError as exc:
                return [exc.code, c.call_host_tool("same", x=1)]

        @tool
        def binary(self):
            found = self.session_context.call_host_tool("bytes", {"a": 1}, {"raw": b"123"})
            return [found.value, found.binary]

        @tool
        def big(self, n):
            return len(self.session_context.call_host_tool("same", data=bytes(n))["data"])

        @tool
        def numbers(self, n):
            for i in range(n):
                yield self.session_context.call_host_tool("inc", x=i)

        @tool
        async def anumbers(self, n):
            for i in range(n):
                yield await self.session_context.acall_host_tool("inc", x=i)

        @tool
        def count(self, n):
            yield from range(n)

        @tool
        def chunks_beside(self, stream, n):
            c = self.session_context
            def work():
                for i in range(n):
                    stream.send(i)
            thread = threading.Thread(target=work)
            thread.start()
            found = [c.call_host_tool("inc", x=i) for i in range(n)]
            thread.join()
            return found

        @tool
        def reads_beside(self, inbox):
            c, found = self.session_context, []
            def work():
                found.extend(inbox)
            thread = threading.Thread(target=work)
            thread.start()
            c.call_host_tool("feed")
            thread.join()
            return found

        @tool
        async def areads_beside(self, inbox):
            async def read():
                return [x async for x in inbox]
            reader = asyncio.ensure_future(read())
            await asyncio.sleep(0)  # allow-sleep: a turn of the loop
            await self.session_context.acall_host_tool("feed")
            return await reader

        @tool
        def gives_up(self):
            import signal
            class Enough(Exception):
                pass
            def enough(*unused):
                raise Enough
            signal.signal(signal.SIGUSR1, enough)
            try:
                self.session_context.call_host_tool("signal")
            except Enough:
                return self.session_context.call_host_tool("inc", x=1)
"""


class Tools:
    """The host's side: answers what the worker asks."""

    def __init__(self, host):
        self.host, self.asked, self.lists = host, [], 0
        self.names = ["inc", "same", "fail"]

    def next(self):
        while True:
            data = self.host.recv()
            assert data is not None, "the worker has gone"
            if data[1] != LOG:
                return data

    def reply(self, kind, value, id, fields=None):
        self.host.send(frame(kind, _codec.encode(value), id, fields=fields))

    def until(self, id):
        """Serves until this call is answered: kind and value."""
        while True:
            data = self.next()
            kind, its = data[1], HEADER.unpack_from(data)[4]
            if kind in (RESULT, ERROR):
                assert its == id
                return kind, values_of(data)[0]
            assert kind in (TOOL_CALL, TOOL_LIST), kind
            self.serve(data)

    def serve(self, data):
        kind, id = data[1], HEADER.unpack_from(data)[4]
        if kind == TOOL_LIST:
            self.lists += 1
            self.reply(TOOL_LIST, [{"name": n, "description": f"does {n}"} for n in self.names], id)
            return
        name, p = values_of(data)
        self.asked.append((id, name, p))
        getattr(self, f"tool_{name}", lambda *_: self.missing(id))(id, p)

    def missing(self, id):
        error = {"code": "tool_not_found", "message": "there is none", "details": {"available": self.names}}
        self.reply(TOOL_ERROR, error, id)

    def tool_inc(self, id, p):
        self.reply(TOOL_RESULT, p["x"] + 1, id)

    def tool_same(self, id, p):
        self.reply(TOOL_RESULT, p, id)

    def tool_fail(self, id, p):
        self.reply(TOOL_ERROR, {"code": "tool_execution_failed", "message": "it failed", "details": {"a": [1]}}, id)

    def tool_bytes(self, id, p):
        self.reply(TOOL_RESULT, p, id, fields=[(5, b"\x81\xa1z\xc4\x02hi")])

    def tool_nest(self, id, p):
        answer = self.nested(p["command"], p["p"], p.get("session"))
        self.reply(TOOL_RESULT, list(answer), id)

    def nested(self, command, args, session=None):
        self.host.sequence += 1
        inner = self.host.sequence
        fields = None if session is None else [(1, session.encode())]
        self.host.send(frame(CALL, call_payload(command, *args), inner, flags=NESTED, fields=fields))
        return self.until(inner)

    def call(self, command, *args, **kwargs):
        kind, value = self.until(self.host.send_call(command, *args, **kwargs))
        assert kind == RESULT, value
        return value

    def error(self, command, *args):
        kind, value = self.until(self.host.send_call(command, *args))
        assert kind == ERROR, value
        return value


@pytest.fixture
def tools(worker):
    return Tools(worker(WORKER))


def nest(command, *args, session=None):
    return {"command": command, "p": list(args), "session": session}


def test_every_form_of_a_question(tools):
    assert tools.call("forms") == [None, None, {"a": 1}, {"a": 1}, {"a": 2, "b": 3}, {"name": 5}, {"k": 1}, {"k": 2}]
    ids = [id for id, _, _ in tools.asked]
    assert all(ids) and len(set(ids)) == len(ids)


def test_odd_forms_of_a_question(tools):
    one = {"a": 1}
    assert tools.call("odd_forms") == [one] * 6 + [True, True, {"self": 1, "parameters": 2, "binary": 3, "q": None}]


def test_questions_that_cannot_be_put(tools):
    told, after = tools.call("refused")
    wrong = ["TypeError", None]
    assert told[:6] == [wrong] * 6
    assert told[6] == told[7] and told[6][0] == "CodecError"
    assert [name for name, path in told[8:]] == ["CodecError"] * 3
    assert after == {"a": 1} and all(asked == "same" for _, asked, _ in tools.asked)


@pytest.mark.parametrize("how", ["ask", "aask", "blocking"])
def test_the_answer_comes_back(tools, how):
    assert tools.call(how, "inc", {"x": 1}) == 2
    for value in [None, True, 1 << 70, "text", b"bytes", [1, [2]], {"a": {"b": 1.5}}]:
        assert tools.call(how, "same", {"v": value}) == {"v": value}


def test_a_tool_that_fails(tools):
    assert tools.call("fails", "fail") == [True, "tool_execution_failed", {"a": [1]}, "it failed"]
    missing = tools.call("fails", "nobody")
    assert "'nobody'" in missing and "inc, same, fail" in missing
    for how in ("ask", "aask"):  # who lets it pass tells his caller that it was a tool of his
        error = tools.error(how, "fail")
        assert (error["code"], error["message"]) == ("tool_execution_failed", "it failed")
        failed = {"name": "fail", "code": "tool_execution_failed", "details": {"a": [1]}}
        assert error["details"] == {"host_tool": failed}
        assert error["python"]["type"].endswith("HostToolError") and "call_host_tool" in error["python"]["traceback"]
    assert tools.error("aask", "nobody")["code"] == "value_error"


def test_the_names_are_kept_for_each_session(tools):
    assert tools.call("listed") == [["fail", "inc", "same"], 3, True, "does same", "same"]
    assert tools.lists == 1
    tools.call("listed")
    assert tools.lists == 1
    tools.call("listed", fields=[(1, b"another")])
    assert tools.lists == 2
    assert tools.call("misses", "new") == [False, False]
    assert tools.lists == 4
    tools.names.append("new")
    assert tools.call("misses", "new") == [True, True]
    assert tools.lists == 5
    assert tools.error("lookup", "nobody")["code"] == "key_error"
    lists = tools.lists
    for key in (5, None, [1], b"same"):  # what is no name is none of theirs, and nobody need be asked
        assert tools.error("lookup", key)["code"] == "key_error"
        assert key == [1] or tools.call("misses", key)[0] is False
    assert tools.lists == lists
    assert tools.call("lookup", "same") is None


@pytest.mark.parametrize("outer", ["around", "aaround"])
@pytest.mark.parametrize("inner", ["who", "awho"])
def test_a_nested_call_has_its_own_context(tools, outer, inner):
    id = tools.host.send_call(outer, "nest", nest(inner, session="inner"), fields=[(1, b"outer")])
    assert tools.until(id) == (RESULT, ["outer", [RESULT, "inner"], "outer"])
    id = tools.host.send_call(outer, "nest", nest(inner), fields=[(1, b"outer")])
    assert tools.until(id) == (RESULT, ["outer", [RESULT, None], "outer"])
    assert tools.call(inner) is None


@pytest.mark.parametrize("first", ["ask", "aask", "blocking"])
@pytest.mark.parametrize("second", ["ask", "aask", "blocking"])
def test_calls_nest(tools, first, second):
    expected, p = [RESULT, 3], nest("one", 3)
    for level in range(16):
        p = nest((first, second)[level % 2], "nest", p)
        expected = [RESULT, expected]
    assert tools.call("ask", "nest", p) == expected
    assert tools.call("one", 1) == 1
    assert tools.host.segment.task() == 0


def test_an_error_in_a_nested_call_is_its_own(tools):
    kind, error = tools.call("ask", "nest", nest("ask", "fail"))
    assert kind == ERROR and error["message"] == "it failed"
    kind, error = tools.call("aask", "nest", nest("nobody"))
    assert kind == ERROR and error["code"] == "tool_not_found"


def test_tasks_and_threads_take_turns(tools):
    assert tools.call("gather", 20) == list(range(1, 21))
    assert tools.call("threaded", 10) == [[100 * k + i + 1 for i in range(10)] for k in range(4)]


def test_several_threads_are_the_first_to_ask(tools):
    assert tools.call("first", 8) == [list(range(1, 9)), True]


def test_a_call_ends_after_who_asks_for_it(tools):
    assert tools.call("leaves_one") == 1
    assert tools.call("left") in ([2, True], [True])  # it may have come too late for its first question
    assert [p["x"] for _, _, p in tools.asked] in ([0, 1], [1, 0], [0])


def test_what_cannot_be_sent_is_not_asked(tools):
    assert tools.call("unserializable") == ["unserializable", {"x": 1}]
    assert [name for _, name, _ in tools.asked] == ["same"]


def test_bytes_beside_the_parameters(tools):
    id = tools.host.send_call("binary")
    data = tools.next()
    assert data[1] == TOOL_CALL and b"\xa3raw\xc4\x03123" in data
    tools.serve(data)
    assert tools.until(id) == (RESULT, [{"a": 1}, {"z": b"hi"}])


def test_large_questions_and_answers(tools):
    for n in (3000, 70_000, 3_000_000):
        assert tools.call("big", n) == n


@pytest.mark.parametrize("command", ["numbers", "anumbers"])
def test_a_stream_asks(tools, command):
    s = tools.host.open_stream(command, 5)
    for i in range(5):
        tools.serve(tools.next())
        assert s.next()[0] == i + 1
    assert s.next() is None and s.outcome == (RESULT, None)


def test_a_nested_stream(tools):
    host = tools.host
    outer = host.send_call("ask", "same", {"v": 1})
    question = tools.next()
    host.sequence += 1
    inner, window = host.sequence, (2).to_bytes(4, "little") + bytes(4) + (1 << 20).to_bytes(8, "little")
    host.send(frame(STREAM_CALL, call_payload("count", 5), inner, flags=NESTED, fields=[(7, window)]))
    for i in range(5):
        data = tools.next()
        assert (data[1], HEADER.unpack_from(data)[4], values_of(data)) == (CHUNK, inner, [i])
        host.send(frame(CREDIT, b"\x01\xcd\x10\x00", inner))
    data = tools.next()
    assert (data[1], HEADER.unpack_from(data)[4]) == (RESULT, inner)
    tools.serve(question)
    assert tools.until(outer) == (RESULT, {"v": 1})


def test_chunks_wait_while_their_call_asks(tools):
    s = tools.host.open_stream("chunks_beside", n=20)
    values, open_question = [], False
    while s.outcome is None:
        data = tools.next()
        kind = data[1]
        if kind == TOOL_CALL:
            answer = tools.nested("one", [1])  # of a chunk of the outer call this one would make something else
            assert answer == (RESULT, 1)
            tools.serve(data)
        elif kind == CHUNK:
            assert not open_question
            values.append(values_of(data)[0])
        else:
            s.outcome = kind, values_of(data)[0]
    assert values == list(range(20)) and s.result() == list(range(1, 21))


@pytest.mark.parametrize("command", ["reads_beside", "areads_beside"])
def test_the_inbox_is_read_while_a_tool_is_asked(tools, command):
    s = tools.host.open_stream(command, inbox=True)
    data = tools.next()
    assert data[1] == TOOL_CALL
    for i in range(3):
        s.put(i)
    s.end()
    tools.reply(TOOL_RESULT, None, HEADER.unpack_from(data)[4])
    assert s.all() == [] and s.result() == [0, 1, 2]


def test_calls_that_were_written_ahead_wait(tools):
    host = tools.host
    first = host.send_call("ask", "inc", {"x": 1})
    question = tools.next()
    ahead = [host.send_call("one", [i, "x" * i]) for i in (1, 2, 100_000)]
    if host.channel == "ring":  # over the socket no call is taken back
        host.segment.set_claim(host.sequence + 1, 2)
        host.send_call("one", 0)
    assert tools.nested("one", [5]) == (RESULT, 5)
    tools.serve(question)
    assert tools.until(first) == (RESULT, 2)
    for id, i in zip(ahead, (1, 2, 100_000)):
        assert tools.until(id) == (RESULT, [i, "x" * i])
    host.sequence += 1
    assert tools.call("one", 7) == 7


@pytest.mark.parametrize("how", ["ask", "aask"])
def test_who_waits_for_a_tool_is_cancelled(tools, how):
    host = tools.host
    id = host.send_call(how, "slow")
    question = tools.next()
    wait_until_started(host, id)
    host.segment.cancel(id)
    host.nudge()
    kind, error = tools.until(id)
    assert (kind, error["code"]) == (ERROR, "cancelled")
    tools.serve(question)  # its answer is nobody's
    assert tools.call("one", 3) == 3
    assert tools.call(how, "inc", {"x": 1}) == 2


def test_an_answer_that_nobody_waits_for_is_dropped(tools):
    for kind in (TOOL_RESULT, TOOL_ERROR, TOOL_LIST):
        tools.reply(kind, None, 77)
    assert tools.call("one", 1) == 1
    id = tools.host.send_call("ask", "inc", {"x": 1})
    question = tools.next()
    tools.reply(TOOL_RESULT, "another's", 77)
    tools.serve(question)
    assert tools.until(id) == (RESULT, 2)


def test_rubbish_for_an_answer(tools):
    for payload in (b"\xc1", b"", b"\x01\x02"):
        id = tools.host.send_call("ask", "inc", {"x": 1})
        tools.host.send(frame(TOOL_RESULT, payload, HEADER.unpack_from(tools.next())[4]))
        kind, error = tools.until(id)
        assert (kind, error["code"]) == (ERROR, "deserialization_failed")
    assert tools.call("ask", "inc", {"x": 1}) == 2


def test_an_exception_ends_the_wait_and_not_the_question(tools):
    import signal

    id = tools.host.send_call("gives_up")
    question = tools.next()
    tools.host.process.send_signal(signal.SIGUSR1)
    tools.reply(TOOL_RESULT, None, HEADER.unpack_from(question)[4])
    data = tools.next()
    if data[1] == TOOL_CALL:  # had the answer come first, there would have been nothing to give up
        assert values_of(data) == ["inc", {"x": 1}]
        tools.serve(data)
        assert tools.until(id) == (RESULT, 2)
    assert tools.call("one", 1) == 1


def test_without_a_host():
    context = SessionContext(7, 0, b"", 0, lambda call: False)
    with pytest.raises(RuntimeError, match="no host"):
        context.call_host_tool("x")
    with pytest.raises(RuntimeError, match="no host"):
        len(context.host_tools)
    with pytest.raises(TypeError, match="dict"):
        context.call_host_tool("x", [1])
