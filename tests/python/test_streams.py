"""Calls for a stream: what the worker sends, when it waits, and how a stream ends; the same over the rings and in pure Python."""

import struct
import time

import pytest
from bridge_host import ERROR, RESULT, SEND, TIMEOUT, Stream, call_payload, frame, wait_until_started

CANCELLED = "cancelled"

PRODUCERS = """
    import asyncio
    from snakepit_bridge import StreamChunk, tool, BaseAdapter, current_context

    class Numbers(BaseAdapter):
        def __init__(self):
            super().__init__()
            self.log = []

        @tool
        def seen(self):
            log, self.log = self.log, []
            return log

        @tool
        def one(self, x):
            return x

        @tool
        def count(self, n, then=None):
            try:
                for i in range(n):
                    yield i
                if then is not None:
                    raise ValueError(then)
                return "counted"
            finally:
                self.log.append("closed")

        @tool
        async def acount(self, n, then=None):
            try:
                for i in range(n):
                    if i % 7 == 3:
                        await asyncio.sleep(0)  # allow-sleep: a turn of the loop
                    yield i
                if then is not None:
                    raise ValueError(then)
            finally:
                await asyncio.sleep(0)  # allow-sleep: a turn of the loop
                self.log.append("closed")

        @tool
        def mapped(self, n):
            return map(str, range(n))

        @tool
        async def later(self, n):
            await asyncio.sleep(0)  # allow-sleep: a turn of the loop
            return (i * i for i in range(n))

        @tool
        def plain(self):
            return [1, 2]

        @tool
        def nothing(self):
            return iter(())

        @tool
        def sends(self, stream, n):
            for i in range(n):
                stream.send({"i": i}, metadata={"step": i}, is_final=i == n - 1)
            return n

        @tool
        async def asends(self, n, *, stream):
            for i in range(n):
                await stream.send(i)
                await stream.asend(-i)
            return n

        @tool
        def chunks(self):
            yield StreamChunk(1, {"a": 1})
            yield StreamChunk(2, is_final=True)

        @tool
        def twice_final(self):
            try:
                yield StreamChunk(1, None, True)
                yield 2
            finally:
                self.log.append("closed")

        @tool
        def stubborn(self, n):
            while True:
                try:
                    yield n
                except GeneratorExit:
                    n += 1

        @tool
        async def astubborn(self, n):
            while True:
                try:
                    yield n
                except GeneratorExit:
                    n += 1

        @tool
        def odd(self):
            try:
                yield 1
                yield object()
                yield 3
            finally:
                self.log.append("closed")

        @tool
        def big(self, n, size):
            for _ in range(n):
                yield bytes(size)

        @tool
        def echo(self, inbox):
            n = 0
            for value in inbox:
                yield value
                n += 1
            return n

        @tool
        async def aecho(self, inbox):
            async for value in inbox:
                yield value

        @tool
        def total(self, inbox):
            return sum(inbox)

        @tool
        async def atotal(self, inbox):
            return sum([x async for x in inbox])

        @tool
        def forgiving(self, inbox):
            found = []
            while True:
                try:
                    found.append(next(inbox))
                except StopIteration:
                    return found
                except ValueError as exc:
                    found.append(exc.code)

        @tool
        def context(self):
            yield current_context().session_id
            yield current_context().session_id

        @tool
        async def meanwhile(self, inbox, here):
            async def note():
                async for value in inbox:
                    open(here, "w").write(value)
            task = asyncio.ensure_future(note())
            yield 0
            yield 1
            await task

        @tool(supports_streaming=True)
        def marked(self, n):
            return iter(range(n))

        @tool(supports_streaming=True)
        def both(self, n, stream=None):
            if stream is None:
                return list(range(n))
            for i in range(n):
                stream.send(i)

        @tool
        def threads(self, n, stream):
            import threading
            def work(k):
                for i in range(n):
                    stream.send([k, i])
            them = [threading.Thread(target=work, args=(k,)) for k in range(4)]
            for t in them: t.start()
            for t in them: t.join()
            return n

        @tool
        def keeps(self, stream):
            self.kept = stream
            stream.send(1)

        @tool
        def too_late(self):
            found = []
            for use in (lambda: self.kept.send(1), lambda: next(self.kept)):
                try:
                    use()
                except RuntimeError as exc:
                    found.append("ended" in str(exc))
            return found

        @tool
        def leaves_a_reader(self, inbox):
            import threading
            self.thread = threading.Thread(target=lambda: self.log.append(self.read(inbox)))
            self.thread.start()
            yield "it reads"

        def read(self, inbox):
            try:
                return next(inbox, "the end")
            except RuntimeError:
                return "refused"

        @tool
        def await_reader(self):
            self.thread.join()
"""


@pytest.fixture
def numbers(worker):
    return worker(PRODUCERS)


@pytest.mark.parametrize("command", ["count", "acount"])
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_what_is_yielded_comes_in_order(numbers, command, n):
    s = numbers.open_stream(command, n)
    assert s.all() == list(range(n))
    assert s.result() == ("counted" if command == "count" else None)
    assert numbers.call("seen") == ["closed"]


def test_iterators_stream(numbers):
    s = numbers.open_stream("mapped", 3)
    assert (s.all(), s.result()) == (["0", "1", "2"], None)
    s = numbers.open_stream("later", 4)
    assert (s.all(), s.result()) == ([0, 1, 4, 9], None)
    s = numbers.open_stream("nothing")
    assert (s.all(), s.result()) == ([], None)


def test_a_tool_sends_by_itself(numbers):
    s = numbers.open_stream("sends", n=3)
    assert [s.next() for _ in range(3)] == [({"i": i}, {"step": i}, i == 2) for i in range(3)]
    assert (s.next(), s.result()) == (None, 3)
    s = numbers.open_stream("asends", 40)
    assert s.all() == [x for i in range(40) for x in (i, -i)]
    assert s.result() == 40


def test_a_chunk_may_say_more(numbers):
    s = numbers.open_stream("chunks")
    assert [s.next(), s.next(), s.next()] == [(1, {"a": 1}, False), (2, None, True), None]


def test_nothing_comes_after_the_final_chunk(numbers):
    s = numbers.open_stream("twice_final")
    assert s.all() == [1]
    assert s.error()["code"] == "runtime_error" and "final" in s.error()["message"]
    assert numbers.call("seen") == ["closed"]


@pytest.mark.parametrize("command", ["count", "acount"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_an_error_in_the_middle_has_its_traceback(numbers, command, n):
    s = numbers.open_stream(command, n, "gone wrong")
    assert s.all() == list(range(n))
    assert s.error()["code"] == "value_error" and s.error()["message"] == "gone wrong"
    assert "raise ValueError(then)" in s.error()["python"]["traceback"]
    assert numbers.call("one", 1) == 1


@pytest.mark.parametrize("command", ["count", "acount"])
def test_the_producer_waits_for_credit(numbers, command):
    s = numbers.open_stream(command, 20, window=(4, 1 << 20))
    assert [s.next()[0] for _ in range(4)] == [0, 1, 2, 3]
    for i in range(4, 20):
        # Were it sent without credit, it would be there before this error of the next call: it is not even served.
        s.grant(1, 100)
        assert s.next()[0] == i
    assert s.next() is None
    assert s.outcome[0] == RESULT


def test_no_more_than_the_window_is_sent(numbers):
    s = numbers.open_stream("count", 1000, window=(10, 1 << 20))
    assert [s.next()[0] for _ in range(10)] == list(range(10))
    s.cancel()  # what it does now is end: of a chunk beyond the window there would be a trace
    assert s.next() is None and s.error()["code"] == CANCELLED


@pytest.mark.parametrize("size", [1000, 100_000])
def test_bytes_are_counted_too(numbers, size):
    s = numbers.open_stream("big", 5, size, window=(100, size))  # the first takes it all: it is larger by its header
    assert len(s.next()[0]) == size
    s.grant(0, size + 24 + 10)  # enough for what was taken beyond it and one byte more, not for two
    assert len(s.next()[0]) == size
    s.cancel()
    assert s.next() is None and s.error()["code"] == CANCELLED


def test_the_last_chunk_needs_no_credit_for_the_end(numbers):
    s = numbers.open_stream("count", 3, window=(3, 1 << 20))
    assert (s.all(grant=False), s.result()) == ([0, 1, 2], "counted")


@pytest.mark.parametrize("command", ["count", "acount", "echo", "aecho", "total", "atotal"])
def test_a_stream_that_waits_is_cancelled(numbers, command):
    args = [1000] if command.endswith("count") else []
    s = numbers.open_stream(command, *args, window=(2, 1 << 20), inbox=not args)
    if args:
        assert [s.next()[0], s.next()[0]] == [0, 1]
    wait_until_started(numbers, s.id)
    s.cancel()
    assert s.all(grant=False) == []
    assert s.error()["code"] == CANCELLED, s.error()
    numbers.segment.cancel(0)
    assert numbers.call("seen") == (["closed"] if args else [])


@pytest.mark.parametrize("command", ["count", "acount"])
def test_a_stream_is_cancelled_between_two_chunks(numbers, command):
    s = numbers.open_stream(command, 10**9, window=((1 << 32) - 1, 1 << 62))
    assert s.next()[0] == 0
    s.cancel()
    s.all(grant=False)
    assert s.error()["code"] == CANCELLED
    assert numbers.call("seen") == ["closed"]


@pytest.mark.parametrize("command", ["stubborn", "astubborn"])
def test_who_ignores_its_closing_is_told_so(numbers, command):
    s = numbers.open_stream(command, 1, window=(1, 1 << 20))
    assert s.next()[0] == 1
    s.cancel()
    assert s.all(grant=False) == []
    assert s.error()["code"] == "runtime_error" and "ignored GeneratorExit" in s.error()["message"]
    assert numbers.call("one", 2) == 2


def test_what_cannot_leave_is_treated_as_in_results(numbers):
    s = numbers.open_stream("odd")
    assert [s.next()[0] for _ in range(3)][::2] == [1, 3]
    assert s.next() is None
    numbers.call("seen")
    s = numbers.open_stream("odd", fields=[(6, b"\x81\xb1on_unserializable\xa5error")])
    assert s.all() == [1]
    assert s.error()["code"] == "unserializable"
    assert numbers.call("seen") == ["closed"]


@pytest.mark.parametrize("command", ["count", "acount"])
def test_a_call_without_a_stream_is_refused(numbers, command):
    assert numbers.error(command, 3)["code"] == "streaming_required"
    assert numbers.call("one", 1) == 1


def test_who_sends_or_reads_needs_a_stream(numbers):
    for command in ("sends", "echo", "total", "atotal"):
        assert numbers.error(command, n=3)["code"] == "streaming_required"
    assert numbers.error("marked", 3)["code"] == "streaming_required"
    assert numbers.error("later", 3)["code"] == "streaming_required"


ITERATORS = """
import os
from snakepit_bridge import register_codec

class _Rows:
    closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def close(self):
        _Rows.closed += 1

class _Later:
    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration

    async def aclose(self):
        _Rows.closed += 1

class _Coded(_Rows):
    pass

class _Told(_Rows):
    def to_dict(self):
        return {"told": True}

class _Listed(list):
    def __next__(self):
        raise StopIteration

register_codec(_Coded, lambda rows: "coded")

class C:
    def give(self, what):
        found = {"rows": _Rows, "later": _Later, "coded": _Coded, "told": _Told, "listed": lambda: _Listed([1, 2])}.get(what)
        return found() if found else {"map": map(str, [1]), "list": iter([1]), "file": open(os.devnull)}[what]

    async def agive(self, what):
        return self.give(what)

    def closed(self):
        return _Rows.closed
"""


@pytest.mark.parametrize("command", ["give", "agive"])
def test_an_iterator_is_no_result_of_a_plain_call(worker, command):
    w = worker(ITERATORS)
    for what in ("map", "list", "file", "rows", "later"):
        error = w.error(command, what)
        assert error["code"] == "streaming_required" and "iterator" in error["message"], what
    assert w.call("closed") == 2
    assert w.call(command, "coded") == "coded"
    assert w.call(command, "told") == {"told": True}
    assert w.call(command, "listed") == [1, 2]


PLACES = """
import functools
from snakepit_bridge import BaseAdapter, tool

def wrap(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs)
    return inner

class A(BaseAdapter):
    @tool
    def first(self, stream, a, b=2):
        stream.send([a, b])

    @tool
    def between(self, a, stream, b, inbox=None, *rest):
        stream.send([a, b, *rest, inbox is stream])

    @tool
    async def later(self, stream, a, b=2):
        await stream.send([a, b])

    @tool
    @wrap
    def wrapped(self, stream, a, b=2):
        stream.send([a, b])

    @tool(parameters=[{"name": "a", "type": "integer"}])
    def checked(self, stream, a, b=2):
        stream.send([a, b])

    @tool
    def any(self, stream=None, a=1, **more):
        if stream is None:
            return [a, more]
        stream.send([a, more])
"""


@pytest.mark.parametrize("scope", ["worker", "request"])
def test_callers_do_not_know_of_the_stream(worker, scope):
    w = worker(PLACES.replace("class A(BaseAdapter):", f"class A(BaseAdapter):\n    adapter_scope = {scope!r}"))

    for command in ("first", "later", "wrapped", "checked"):
        for args, kwargs in (((1, 3), {}), ((1,), {"b": 3}), ((), {"a": 1, "b": 3})):
            assert w.open_stream(command, *args, **kwargs).all() == [[1, 3]], (command, args)
        s = w.open_stream(command, a=1, stream=5)
        assert s.all() == [] and s.error()["code"] == "type_error" and "no caller gives it" in s.error()["message"]
        s = w.open_stream(command, 1, stream=5, **{f"more{n}": n for n in range(20)})
        assert s.all() == [] and "no caller gives it" in s.error()["message"]
        s = w.open_stream(command, 1, 2, 3)
        assert s.all() == [] and s.error()["code"] == "type_error"
    assert w.open_stream("between", 1, 2).all() == [[1, 2, True]]
    assert w.open_stream("between", 1, 2, 3, 4).all() == [[1, 2, 3, 4, True]]
    assert w.open_stream("any", 5, x=1).all() == [[5, {"x": 1}]]
    assert w.call("any", 5, x=1) == [5, {"x": 1}] and w.call("any") == [1, {}] and w.call("any", a=2) == [2, {}]
    assert w.error("any", stream=5)["code"] == "type_error" and w.error("any", inbox=5)["code"] == "type_error"


def test_what_is_no_stream(numbers):
    s = numbers.open_stream("plain")
    assert s.all() == [] and s.error()["code"] == "streaming_not_supported"
    s = numbers.open_stream("nobody")
    assert s.all() == [] and s.error()["code"] == "tool_not_found"
    s = numbers.open_stream("count")
    assert s.all() == [] and s.error()["code"] == "type_error"


def test_a_tool_may_do_both(numbers):
    assert numbers.call("both", 3) == [0, 1, 2]
    s = numbers.open_stream("both", 3)
    assert (s.all(), s.result()) == ([0, 1, 2], None)
    s = numbers.open_stream("both", 3, stream=None)
    assert s.all() == [] and s.error()["code"] == "type_error"


def test_a_call_for_a_stream_without_its_window(numbers):
    for fields in ([], [(7, b"12345678")]):
        numbers.sequence += 1
        numbers.send(frame(24, call_payload("count", 1), numbers.sequence, fields=fields))
        s = Stream(numbers, numbers.sequence)
        assert s.all() == [] and s.error()["code"] == "deserialization_failed"
    assert numbers.call("one", 1) == 1


@pytest.mark.parametrize("command", ["echo", "aecho"])
def test_what_is_sent_comes_out_of_the_inbox(numbers, command):
    s = numbers.open_stream(command, inbox=True, window=(10, 1 << 20))
    for value in [1, "two", [3], None, {"four": 4}, *range(30)]:
        s.put(value)
        assert s.next()[0] == value
        s.grant(1, 1 << 10)
    s.end()
    assert s.next() is None and s.outcome[0] == RESULT
    assert all(chunks == 5 and size >= 5 * 25 for chunks, size in s.grants) and len(s.grants) == 7


@pytest.mark.parametrize("command", ["total", "atotal"])
def test_a_client_stream(numbers, command):
    s = numbers.open_stream(command, inbox=True)
    for i in range(20):
        s.put(i)
    s.end()
    assert (s.all(), s.result()) == ([], 190)
    s = numbers.open_stream(command)  # nothing will come
    assert (s.all(), s.result()) == ([], 0)


def test_large_values_for_the_inbox(numbers):
    s = numbers.open_stream("echo", inbox=True)
    for size in (40_000, 200_000, 1_000_000):
        s.put(bytes(size))
        assert len(s.next()[0]) == size
        s.grant(1, 2 * size)
    s.end()
    assert (s.next(), s.result()) == (None, 3)


def test_rubbish_for_the_inbox_is_the_readers_error(numbers):
    s = numbers.open_stream("forgiving", inbox=True)
    s.put(1)
    numbers.send(frame(SEND, b"\xc1", s.id))
    numbers.send(frame(SEND, b"\x01\x02", s.id))
    s.put(2)
    s.end()
    assert (s.all(), s.result()) == ([], [1, "deserialization_failed", "deserialization_failed", 2])


def test_what_comes_after_the_end_is_dropped(numbers):
    s = numbers.open_stream("count", 1)
    assert s.all() == [0]
    s.put(1)
    s.end()
    s.grant(1)
    assert numbers.call("one", 5) == 5
    other = numbers.open_stream("total", inbox=True)
    s.put(100)
    other.put(1)
    s.end()
    other.end()
    assert (other.all(), other.result()) == ([], 1)


def test_the_context_is_there_in_a_generator(numbers):
    s = numbers.open_stream("context", fields=[(1, b"me")])
    assert s.all() == ["me", "me"]


def test_the_event_loop_goes_on_without_credit(numbers, tmp_path):
    here = tmp_path / "here"
    s = numbers.open_stream("meanwhile", here=str(here), window=(1, 1 << 20), inbox=True)
    assert s.next()[0] == 0  # and the next one has no credit
    s.put("seen")
    until = time.monotonic() + TIMEOUT
    while not here.exists() or here.read_text() != "seen":
        assert time.monotonic() < until, "the other task does not run"
        time.sleep(0.001)  # allow-sleep: polls
    s.grant(1, 1000)
    s.end()
    assert s.all() == [1] and s.result() is None


def test_several_threads_send(numbers):
    s = numbers.open_stream("threads", 50, window=(8, 1 << 20))
    found = s.all()
    assert s.result() == 50
    for k in range(4):
        assert [i for j, i in found if j == k] == list(range(50))


def test_a_stream_ends_with_its_call(numbers):
    s = numbers.open_stream("keeps")
    assert s.all() == [1]
    assert numbers.call("too_late") == [True, True]


def test_a_thread_that_reads_on_is_sent_home(numbers):
    s = numbers.open_stream("leaves_a_reader", inbox=True)
    assert s.all() == ["it reads"] and s.result() is None
    numbers.call("await_reader")
    assert numbers.call("seen") == ["refused"]


def test_descriptions(numbers):
    tools = {t["name"]: t for t in numbers.tools}
    streaming = {name for name, t in tools.items() if t["streaming"]}
    assert {"count", "acount", "sends", "asends", "echo", "total", "marked", "both"} <= streaming
    assert not {"one", "plain", "mapped", "seen"} & streaming
    assert [p["name"] for p in tools["sends"]["parameters"]] == ["n"]
    assert [p["name"] for p in tools["echo"]["parameters"]] == []


def test_a_stream_is_timed_and_marked(numbers):
    s = numbers.open_stream("count", 3)
    s.all()
    assert numbers.segment.finished() == s.id
    assert numbers.segment.claim(s.id) == s.id << 2 | 3


def test_a_stream_whose_deadline_has_passed(numbers):
    numbers.sequence += 1
    window = struct.pack("<IIQ", 10, 0, 1000)
    numbers.send(frame(24, call_payload("count", 3), numbers.sequence, stamp=1, fields=[(7, window)]))
    s = Stream(numbers, numbers.sequence)
    assert s.all() == [] and s.error()["code"] == "deadline_exceeded"
    assert numbers.call("seen") == []
    assert s.outcome[0] == ERROR
