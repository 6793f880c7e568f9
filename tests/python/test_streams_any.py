"""Streams and tools of the host with whatever comes: any values and metadata, any end, windows that are too small for anything, credit in lumps of any size.
What arrives is what was sent, in order; and nothing is ever sent without credit."""

import struct

import pytest
from bridge_host import CHUNK, CREDIT, ERROR, FINAL, RESULT, SEND, SEND_END, TOOL_CALL, TOOL_RESULT, _codec, frame, values_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_kit import same

HEADER = struct.Struct("<BBHIQQ")
ADAPTER = """
    from snakepit_bridge import BaseAdapter, StreamChunk, current_context, tool

    def chunks_of(plan):
        for value, metadata, plain in plan:
            yield value if plain and metadata is None else StreamChunk(value, metadata=metadata)

    class Any(BaseAdapter):
        @tool
        def play(self, plan, end, fails):
            yield from chunks_of(plan)
            if fails:
                raise ValueError(end)
            return end

        @tool
        async def aplay(self, plan, end, fails):
            for chunk in chunks_of(plan):
                yield chunk
            if fails:
                raise ValueError(end)

        @tool
        def send(self, plan, end, fails, stream):
            for value, metadata, _ in plan:
                stream.send(value, metadata=metadata)
            if fails:
                raise ValueError(end)
            return end

        @tool
        def echo(self, inbox):
            yield from inbox

        @tool
        async def aecho(self, inbox):
            async for value in inbox:
                yield value

        @tool
        def ask(self, values):
            return [current_context().call_host_tool("same", {"v": value}) for value in values]

        @tool
        async def aask(self, values):
            return [await current_context().acall_host_tool("same", {"v": value}) for value in values]
"""
ANY = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
SMALL = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | TEXTS | st.binary(max_size=20)
VALUES = st.recursive(
    SMALL | st.sampled_from([100, 5000, 20000, 70000]).map(bytes),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4) | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=8,
)
PLANS = st.lists(
    st.tuples(VALUES, st.none() | st.dictionaries(TEXTS, VALUES, max_size=2), st.booleans()).map(list), max_size=12
)
WINDOWS = st.tuples(st.integers(1, 5), st.sampled_from([1, 30, 1000, 100000]))
LUMPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 100, 10000])), min_size=1, max_size=5)


@pytest.fixture
def host(worker):
    return worker(ADAPTER)


class Reader:
    """The host's side of one stream: counts what the worker may send."""

    def __init__(self, stream, window, lumps=((1, 1),)):
        self.stream, self.host, self.lumps, self.turn = stream, stream.host, lumps, 0
        self.chunks, self.bytes = window
        self.got, self.outcome = [], None
        self.may = list(window)  # what may be sent to its inbox

    def grant(self):
        """The next lump; more, where it would not do."""
        chunks, size = self.lumps[self.turn % len(self.lumps)]
        self.turn += 1
        if self.chunks + chunks <= 0:
            chunks += 1 - self.chunks - chunks
        if self.bytes + size <= 0:
            size += 1 - self.bytes - size
        self.chunks += chunks
        self.bytes += size
        self.stream.grant(chunks, size)

    def hear(self):
        """One frame of the worker's."""
        data = self.host.recv()
        assert data is not None, "the worker has gone"
        _, kind, flags, size, id, _ = HEADER.unpack_from(data)
        assert id == self.stream.id
        values = values_of(data)
        if kind == CREDIT:
            self.may[0] += values[0]
            self.may[1] += values[1]
        elif kind == CHUNK:
            assert self.chunks > 0 and self.bytes > 0 and not flags & FINAL
            self.chunks -= 1
            self.bytes -= size
            self.got.append(values)
            self.grant()
        else:
            self.outcome = kind, values[0]

    def send(self, value):
        """To the inbox, as soon as it may be."""
        data = frame(SEND, _codec.encode(value), self.stream.id)
        while self.may[0] <= 0 or self.may[1] <= 0:
            self.hear()
        self.may[0] -= 1
        self.may[1] -= len(data)
        self.host.send(data)


@pytest.mark.parametrize("command", ["play", "aplay", "send"])
@given(plan=PLANS, end=TEXTS, fails=st.booleans(), window=WINDOWS, lumps=LUMPS)
@ANY
def test_what_is_sent_arrives(host, command, plan, end, fails, window, lumps):
    reader = Reader(host.open_stream(command, plan, end, fails, window=window), window, lumps)
    while reader.outcome is None:
        reader.hear()
    sent = [[value] if metadata is None else [value, metadata] for value, metadata, _ in plan]
    assert same(reader.got, sent)
    kind, value = reader.outcome
    if fails:
        assert kind == ERROR and value["code"] == "value_error" and value["python"]["message"] == end
    else:
        assert (kind, value) == (RESULT, None if command == "aplay" else end)


@pytest.mark.parametrize("command", ["echo", "aecho"])
@given(values=st.lists(SMALL | st.lists(SMALL, max_size=4), max_size=30), window=WINDOWS, lumps=LUMPS)
@ANY
def test_what_is_sent_to_the_inbox_comes_back(host, command, values, window, lumps):
    """This host does not read while it writes: what is under way has to fit into a ring."""
    reader = Reader(host.open_stream(command, window=window, inbox=True), window, lumps)
    for value in values:
        reader.send(value)
    host.send(frame(SEND_END, b"", reader.stream.id))
    while reader.outcome is None:
        reader.hear()
    assert same(reader.got, [[value] for value in values])
    assert reader.outcome == (RESULT, None)


@pytest.mark.parametrize("command", ["ask", "aask"])
@given(values=st.lists(VALUES, max_size=6))
@ANY
def test_what_a_tool_is_given_comes_back(host, command, values):
    id = host.send_call(command, values)
    while True:
        data = host.recv()
        kind, asked = data[1], HEADER.unpack_from(data)[4]
        if kind != TOOL_CALL:
            break
        name, parameters = values_of(data)
        assert name == "same"
        host.send(frame(TOOL_RESULT, _codec.encode(parameters["v"]), asked))
    assert (kind, asked) == (RESULT, id)
    assert same(values_of(data)[0], values)
