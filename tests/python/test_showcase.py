"""The adapters that come with the package: each of their tools computes what it says."""

import asyncio
import datetime
import hashlib
import itertools
import math
import struct
import sys
from decimal import Decimal

import pytest
from bridge_host import HEADER, TOOL_CALL, TOOL_LIST, TOOL_RESULT, Host, frame, values_of
from package_kit import MODES, needs_extension
from snakepit_bridge import SnakepitError, _codec, _loader
from snakepit_bridge.adapter import find_tools
from snakepit_bridge.adapters import SHIPPED, Showcase, Template, ThreadedShowcase
from snakepit_bridge.values import Tensor, Unserializable

BASIC = """ping echo add error_demo adapter_info get_stats basic_echo basic_add process_text telemetry_demo serialization_demo ml_analyze_text
    process_binary concurrent_demo call_host_demo call_elixir_demo""".split()
SESSION = "init_session cleanup set_counter get_counter increment_counter get_worker_info".split()
BINARY = "create_tensor create_embedding benchmark_encoding".split()
STREAMING = "stream_data stream_progress stream_fibonacci generate_dataset infinite_stream".split()
CONCURRENT = "cpu_bound_task sleep_task lightweight_task get_pool_stats".split()
LEARNING = """load_sample_data preprocess_data generate_features select_features train_model cross_validate predict_single
    predict_batch_with_embeddings""".split()
THREADED = "ping compute_intensive matrix_multiply batch_process get_adapter_stats stress_test clear_caches get_history".split()


@pytest.fixture(params=[MODES[0], MODES[2]])
def start(request):
    """A worker on an adapter that comes with the package."""
    hosts = []

    def make(name, **options):
        host = Host(name, **{**request.param, **options})
        hosts.append(host)
        host.tools = host.ready()["tools"]
        return host

    yield make
    for host in hosts:
        host.__exit__()


@pytest.fixture
def showcase(start):
    return start("Showcase")


def tensor_of(value):
    """Its shape and numbers, in whatever form it has arrived."""
    if isinstance(value, Tensor):
        form = {"f32": "f", "f64": "d", "i32": "i", "i64": "q", "u8": "B"}[value.dtype]
        return value.shape, list(struct.unpack(f"<{len(value.data) // struct.calcsize(form)}{form}", value.data))
    if isinstance(value, memoryview):
        return value.shape, list(value.cast("B").cast(value.format))
    return value.shape, value.ravel().tolist()


# ---- names ----


def test_what_there_is():
    assert set(find_tools(Showcase)) == {*BASIC, *SESSION, *BINARY, *STREAMING, *CONCURRENT, *LEARNING}
    assert set(find_tools(ThreadedShowcase)) == set(THREADED)
    for cls in (Showcase, ThreadedShowcase, Template):
        for name, (_, spec) in find_tools(cls).items():
            assert spec.description, name


@pytest.mark.parametrize("name", [*SHIPPED, *SHIPPED.values()])
def test_by_name(name):
    assert (
        _loader.load(name)
        is {"showcase": Showcase, "threaded_showcase": ThreadedShowcase, "template": Template}[SHIPPED.get(name, name)]
    )


def test_a_module_of_that_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / "showcase.py").write_text("class Mine:\n    def own(self):\n        return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert _loader.load("showcase").__name__ == "Mine"
        assert _loader.load("Showcase") is Showcase
        assert _loader.load("snakepit_bridge.adapters.showcase:Showcase") is Showcase
    finally:
        sys.modules.pop("showcase", None)
    with pytest.raises(SnakepitError, match="no module"):
        _loader.load("ShowCase")


# ---- basic ----


def test_basic(showcase):
    w = showcase
    answer = w.call("ping")
    assert (answer["status"], answer["message"]) == ("ok", "pong") and answer["timestamp"] > 1.6e9
    assert [w.call("echo"), w.call("echo", 1), w.call("echo", [1]), w.call("echo", 1, 2), w.call("echo", a=1)] == [
        {},
        1,
        [1],
        [1, 2],
        {"a": 1},
    ]
    assert w.call("add", 1, 2) == 3 and w.call("add", a=0.5, b=2) == 2.5
    assert w.call("basic_add", 1, 2) == {"operation": "1 + 2", "result": 3}
    answer = w.call("basic_echo", "hi", fields=[(2, b"c-1")])
    assert (answer["echoed"], answer["length"], answer["correlation_id"]) == ("hi", 2, "c-1")
    texts = [w.call("process_text", "Ab", op)["result"] for op in ("upper", "lower", "reverse", "length")]
    assert texts == ["AB", "ab", "bA", 2]
    assert "one of upper, lower" in w.error("process_text", "Ab", "shout")["message"]
    info = w.call("adapter_info")
    assert (info["name"], info["thread_safe"], set(info["tools"])) == ("Showcase", False, {tool["name"] for tool in w.tools})
    stats = w.call("get_stats")
    assert stats["by_tool"]["echo"] == 5 and stats["calls"] == sum(stats["by_tool"].values())


def test_errors(showcase):
    for kind, code in (
        ("generic", "python_exception"),
        ("value", "value_error"),
        ("runtime", "runtime_error"),
        ("odd", "value_error"),
    ):
        error = showcase.error("error_demo", kind)
        assert error["code"] == code and "error_demo" in error["python"]["traceback"]


def test_values(showcase):
    v = showcase.call("serialization_demo")
    assert (v["int"], v["float"], v["bytes"], v["tuple"]) == (2**100, math.pi, b"\x00\xff", (1, 2))
    assert (v["set"], v["frozenset"], v["decimal"], v["complex"]) == ({1, 2, 3}, frozenset("a"), Decimal("0.10"), 1 + 2j)
    assert v["datetime"] == datetime.datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=datetime.timezone.utc)
    assert isinstance(v["object"], Unserializable) and v["object"].type.endswith("NotSerializable")


def test_texts(showcase):
    w = showcase
    good = w.call("ml_analyze_text", "I love this fast, reliable library. It works!")
    assert good["sentiment"]["label"] == "positive" and (good["words"], good["sentences"]) == (8, 2)
    assert w.call("ml_analyze_text", "This is not good. It crashed: a terrible bug.")["sentiment"]["label"] == "negative"
    nothing = w.call("ml_analyze_text", "")
    assert (nothing["words"], nothing["sentiment"]["score"], nothing["reading_ease"]) == (0, 0.0, None)
    assert w.call("ml_analyze_text", "parser parser lexer the the the")["keywords"] == ["parser", "lexer"]


def test_bytes(showcase):
    w = showcase
    told = w.call("process_binary", b"ab" * 500)
    assert (told["size"], told["sha256"]) == (1000, hashlib.sha256(b"ab" * 500).hexdigest())
    assert told["entropy_bits"] == 1.0 and told["compressed_size"] < 50
    assert w.call("process_binary", b"")["entropy_bits"] == 0.0
    assert w.call("process_binary") == {}


def test_telemetry_and_tasks(showcase):
    w = showcase
    told = w.call("telemetry_demo", 2, fields=[(2, b"c-2")])
    assert told["correlation_id"] == "c-2" and [s["digest"] for s in told["steps"]] == [
        hashlib.sha256(str(i).encode() * 1000).hexdigest()[:16] for i in range(2)
    ]
    told = w.call("concurrent_demo", 4, 1)
    assert told["results"] == [0, 1, 4, 9] and sorted(told["order"]) == [0, 1, 2, 3]


def test_tools_of_the_host(showcase):
    w = showcase
    for command in ("call_host_demo", "call_elixir_demo"):
        id = w.send_call(command, "lookup", {"key": 7})
        _, kind, _, _, asked, _ = HEADER.unpack_from(data := w.recv())
        assert (kind, values_of(data)) == (TOOL_CALL, ["lookup", {"key": 7}])
        w.send(frame(TOOL_RESULT, _codec.encode("found"), asked))
        assert w.answer()[1::2] == (id, {"tool": "lookup", "result": "found"})
    w.send_call("call_host_demo")
    _, kind, _, _, asked, _ = HEADER.unpack_from(w.recv())
    assert kind == TOOL_LIST
    described = {
        "description": "",
        "parameters": [],
        "returns": None,
        "streaming": False,
        "idempotent": False,
        "timeout_ms": None,
    }
    w.send(frame(TOOL_LIST, _codec.encode([{"name": name, **described} for name in ("price", "lookup")]), asked))
    assert w.answer()[3] == {"available": ["lookup", "price"]}


# ---- sessions ----


def test_sessions(showcase):
    w = showcase
    a, b = [(1, b"a")], [(1, b"b")]
    assert w.call("init_session", fields=a, user="ann")["values"] == {"user": "ann"}
    assert w.call("set_counter", 5, fields=a) == {"old": 0, "new": 5}
    assert [w.call("increment_counter", fields=a)["value"], w.call("increment_counter", 2, fields=b)["value"]] == [6, 2]
    assert [w.call("get_counter", fields=f)["value"] for f in (a, b, None)] == [6, 2, 0]
    info = w.call("get_worker_info", fields=a)
    assert (info["session_id"], info["sessions"]) == ("a", 3)
    assert [w.call("cleanup", fields=a)["was_there"] for _ in range(2)] == [True, False]
    assert w.call("get_counter", fields=a)["value"] == 0
    assert w.error("set_counter", "five")["code"] == "type_error"
    assert w.stop() == 0  # the tool `cleanup` is not the hook


# ---- tensors ----


def test_tensors(showcase):
    for dtype, size in (("f32", 4), ("f64", 8), ("i32", 4), ("i64", 8), ("u8", 1)):
        look_at_tensors(showcase, dtype, size)


def look_at_tensors(w, dtype, size):
    for fill, expected in (("zeros", [0] * 6), ("ones", [1] * 6), ("range", list(range(6)))):
        made = w.call("create_tensor", [2, 3], dtype, fill)
        assert tensor_of(made["tensor"]) == ((2, 3), expected) and made["bytes"] == 6 * size
    one, same, other = (tensor_of(w.call("create_tensor", [8], dtype, "random", seed)["tensor"]) for seed in (1, 1, 2))
    assert one == same != other
    assert tensor_of(w.call("create_tensor", [0], dtype)["tensor"])[0] == (0,)
    for bad in ([[2], "f16"], [[2], dtype, "noise"], [[-1], dtype], [[1 << 13, 1 << 13], dtype]):
        assert w.error("create_tensor", *bad)["code"] == "value_error"


def test_embeddings(showcase):
    def of(text, n=64):
        shape, numbers = tensor_of(showcase.call("create_embedding", text, n)["embedding"])
        assert shape == (n,)
        return numbers

    def near(x, y):
        return sum(a * b for a, b in zip(x, y))

    cat, cats, engine = of("the cat sat on the mat"), of("the cats sat on mats"), of("steam engines need coal")
    assert near(cat, cat) == pytest.approx(1, abs=1e-5)
    assert near(cat, cats) > 0.5 > near(cat, engine)
    assert of("") == [0.0] * 64


def test_encoding(showcase):
    told = showcase.call("benchmark_encoding", 50, 2)
    assert told["equal"] is True and 0 < told["snakepit"]["bytes"] < told["json"]["bytes"]


# ---- computing ----


def test_concurrent(showcase):
    w = showcase
    told = w.call("cpu_bound_task", 10000)
    assert (told["primes"], told["largest"]) == (1229, 9973)
    assert [w.call("cpu_bound_task", n)["primes"] for n in (0, 2, 3, 4, 5)] == [0, 0, 1, 2, 2]
    assert w.call("sleep_task", 1)["slept_ms"] >= 1
    assert w.call("lightweight_task", 4)["doubled"] == 8
    assert w.call("get_pool_stats")["pid"] == w.process.pid
    assert w.error("sleep_task", -1)["code"] == "value_error"


def test_a_long_computation_ends_when_it_is_cancelled(showcase):
    w = showcase
    id = w.send_call("cpu_bound_task", 50_000_000)
    while w.segment.claim(id) != id << 2 | 1:
        pass
    w.segment.cancel(id)
    assert w.answer()[3]["code"] == "cancelled"


# ---- learning ----


def test_learning(showcase):
    w = showcase
    loaded = w.call("load_sample_data", rows=90, seed=7)
    assert loaded["per_class"] == [30, 30, 30] and len(loaded["preview"]) == 5
    scaled = w.call("preprocess_data", "standard", loaded["pipeline"])
    assert all(abs(mean) < 1e-9 for mean in scaled["means"])
    assert all(0 <= x <= 1 for row in w.call("preprocess_data", "minmax", loaded["pipeline"])["preview"] for x in row)
    wide = w.call("generate_features", 2, scaled["pipeline"])
    assert (wide["before"], wide["after"]) == (4, 14) and "petal_length*petal_width" in wide["features"]
    narrow = w.call("select_features", 3, wide["pipeline"])
    assert len(narrow["selected"]) == 3 and set(narrow["selected"]) <= set(narrow["scores"])
    assert sorted(narrow["scores"], key=narrow["scores"].get)[-3:] == sorted(narrow["selected"], key=narrow["scores"].get)
    trained = w.call("train_model", pipeline=narrow["pipeline"])
    assert trained["accuracy"] > 0.85 and trained["features"] == narrow["selected"]
    assert trained["losses"][-1] < trained["losses"][0] and trained["tested_on"] == sum(map(sum, trained["confusion"]))
    assert w.call("train_model", "centroids", pipeline=narrow["pipeline"])["accuracy"] > 0.85
    checked = w.call("cross_validate", 3, trained["pipeline"])
    assert len(checked["scores"]) == 3 and checked["mean"] > 0.85


def test_predictions(showcase):
    w = showcase
    setosa, virginica = [5.0, 3.4, 1.5, 0.2], {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.8, "petal_width": 2.2}
    told = w.call("predict_single", setosa)
    assert told["class"] == "setosa" and sum(told["probabilities"].values()) == pytest.approx(1)
    assert w.call("predict_single", virginica)["class"] == "virginica"
    batch = w.call("predict_batch_with_embeddings", [setosa, virginica])
    assert [p["class"] for p in batch["predictions"]] == ["setosa", "virginica"]
    assert tensor_of(batch["embeddings"])[0] == (2, 4) and len(batch["features"]) == 4
    assert w.call("predict_batch_with_embeddings", [])["predictions"] == []
    assert "lack petal" in w.error("predict_single", {"sepal_length": 1, "sepal_width": 1})["message"]
    assert "4 features" in w.error("predict_single", [1, 2])["message"]


def test_a_pipeline_says_what_was_chosen_and_no_more(showcase):
    """What a step takes for granted is no choice: the next one still has its own."""
    p = showcase.call("load_sample_data", rows=60)["pipeline"]
    assert p == {"rows": 60}
    p = showcase.call("preprocess_data", pipeline=p)["pipeline"]
    wide = showcase.call("generate_features", pipeline=p)
    assert wide["pipeline"] == {"rows": 60, "degree": 2} and wide["after"] > wide["before"]
    narrow = showcase.call("select_features", pipeline=wide["pipeline"])
    assert narrow["pipeline"] == {"rows": 60, "degree": 2, "keep": 3} and len(narrow["selected"]) == 3
    again = showcase.call("generate_features", pipeline={"degree": 1})
    assert again["pipeline"] == {"degree": 1} and again["after"] == again["before"]
    trained = showcase.call("train_model", pipeline=narrow["pipeline"])
    assert trained["features"] == narrow["selected"]


def test_arguments_that_make_no_sense(showcase):
    for data in (5, 1 << 70, "text", [1, 2]):
        assert showcase.error("process_binary", data)["code"] == "type_error", data
    for by in (1.5, True, 1j, "1", None):
        assert showcase.error("increment_counter", by)["code"] == "type_error", by
    assert showcase.call("increment_counter")["value"] == 1
    for command, given in (("create_tensor", {"shape": [2]}), ("load_sample_data", {})):
        assert showcase.error(command, **given, seed=1.5)["code"] in ("type_error", "value_error")
    assert showcase.error("create_tensor", [2], fill="random", seed=None)["code"] == "type_error"


def test_a_pipeline_that_is_none(showcase):
    wrong = {"rows": 3, "degree": 9, "scale": "log", "model": "forest", "rate": 0, "epochs": True, "colour": 1, "test_share": 1}
    for key, value in wrong.items():
        error = showcase.error("train_model", pipeline={key: value})
        assert error["code"] == "value_error" and key in error["message"]


@pytest.mark.parametrize("mode", MODES[::2])
def test_each_worker_comes_to_the_same(mode):
    told = []
    for _ in range(2):
        with Host("Showcase", **mode) as w:
            w.ready()
            trained = w.call("train_model", pipeline={"degree": 2, "keep": 5})
            told.append(
                (trained["losses"], trained["confusion"], w.call("predict_single", [6, 3, 4.5, 1.5], trained["pipeline"]))
            )
    assert told[0] == told[1]


# ---- streams ----


def collected(generator):
    chunks = []
    while True:
        try:
            chunks.append(next(generator))
        except StopIteration as end:
            return chunks, end.value


def test_streams():
    a = Showcase()
    assert collected(a.stream_data(3)) == ([{"index": i} for i in range(3)], {"chunks": 3, "bytes": 0})
    assert [len(chunk["data"]) for chunk in a.stream_data(2, 500)] == [500, 500]
    assert collected(a.stream_fibonacci(8)) == ([0, 1, 1, 2, 3, 5, 8, 13], 33)
    chunks, result = collected(a.generate_dataset(25, 10, 1))
    assert [len(chunk["rows"]) for chunk in chunks] == [10, 10, 5] and result["rows"] == 25
    values = [row["value"] for chunk in chunks for row in chunk["rows"]]
    assert result["mean"] == pytest.approx(sum(values) / 25)
    assert chunks == collected(a.generate_dataset(25, 10, 1))[0]
    assert list(itertools.islice(a.infinite_stream(), 5)) == [0, 1, 2, 3, 4]

    async def progress():
        return [chunk["percent"] async for chunk in a.stream_progress(4, 0)]

    assert asyncio.run(progress()) == [25.0, 50.0, 75.0, 100.0]


def test_streams_of_a_worker(showcase):
    w = showcase

    def of(command, *args):
        stream = w.open_stream(command, *args)
        return stream.all(), stream.result()

    assert of("stream_data", 3) == ([{"index": i} for i in range(3)], {"chunks": 3, "bytes": 0})
    assert of("stream_fibonacci", 5) == ([0, 1, 1, 2, 3], 7)
    chunks, result = of("generate_dataset", 25, 10, 1)
    assert [len(chunk["rows"]) for chunk in chunks] == [10, 10, 5] and result["rows"] == 25
    chunks, result = of("stream_progress", 4, 0)
    assert ([chunk["percent"] for chunk in chunks], result) == ([25.0, 50.0, 75.0, 100.0], None)
    stream = w.open_stream("infinite_stream", window=(5, 1 << 20))
    assert [stream.next()[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    stream.cancel()
    assert stream.all(grant=False) == [] and stream.error()["code"] == "cancelled"
    w.segment.cancel(0)
    stream = w.open_stream("stream_fibonacci", -1)
    assert stream.all() == [] and stream.error()["code"] == "value_error"
    assert w.call("add", 1, 2) == 3


def test_streams_are_described_as_such(showcase):
    assert {tool["name"] for tool in showcase.tools if tool["streaming"]} == set(STREAMING)
    for name in STREAMING:
        assert showcase.error(name)["code"] == "streaming_required"


# ---- the others ----


def test_threaded_showcase(start):
    w = start("ThreadedShowcase")
    assert w.call("ping", "hi")["message"] == "hi"
    chain = b"42"
    for _ in range(10):
        chain = hashlib.sha256(chain).digest()
    assert w.call("compute_intensive", 10)["digest"] == chain.hex()
    one, same = w.call("matrix_multiply", 3), w.call("matrix_multiply", 3)
    assert one["trace"] == same["trace"] and w.call("matrix_multiply", 3, 7)["trace"] != one["trace"]
    assert w.call("batch_process", [1, 6, 7, 27, 6])["results"] == [0, 8, 16, 111, 8]
    stress = w.call("stress_test", 50, 3)
    assert (stress["counted"], stress["lost"]) == (150, 0)
    stats = w.call("get_adapter_stats")
    assert stats["cache"] == {"entries": 4, "hits": 1, "misses": 4} and stats["by_name"]["matrix_multiply"]["requests"] == 3
    history = w.call("get_history", 3)
    assert [entry["tool"] for entry in history] == ["stress_test", "batch_process", "matrix_multiply"]
    assert w.call("clear_caches") == {"cleared": 4} and w.call("get_adapter_stats")["cache"]["entries"] == 0
    assert w.error("batch_process", [0])["code"] == "value_error"


@needs_extension
def test_threaded_showcase_on_two_lanes():
    from test_lanes import Lanes

    with Host("ThreadedShowcase", channel="ring", lanes=2) as host:
        host.ready(lanes=2, profile="thread")
        w = Lanes(host)
        for i in (0, 1):
            w.send(i, "matrix_multiply", 8)
        answers = [w.answer(i)[2] for i in (0, 1)]
        assert answers[0]["trace"] == answers[1]["trace"]
        w.send(0, "get_history")
        assert {entry["thread"] for entry in w.answer(0)[2]} == {"snakepit-lane-0", "snakepit-lane-1"}


def test_template(start):
    w = start("Template")
    assert w.call("greet", "World") == "Hello, World" and w.call("greet", "Ann", language="fr") == "Bonjour, Ann"
    assert w.error("greet", "Ann", "xx")["code"] == "value_error"
    assert w.call("total", [1, 2.5], 2) == 7 and w.error("total", [1], -1)["code"] == "invalid_parameter"
    assert w.error("greet")["code"] == "type_error"
    assert list(Template().count(3)) == [1, 2, 3]
    stream = w.open_stream("count", 3)
    assert (stream.all(), stream.result()) == ([1, 2, 3], 3)
    assert w.stop() == 0


def test_register_with_session():
    a = Template()
    assert a.register_with_session("s") == [tool["name"] for tool in a.get_tools()] == ["greet", "total", "count"]
    a.initialize()
    assert a.call_tool("greet", "Bob") == "Hello, Bob"
    with pytest.raises(TypeError, match="name"):
        a.call_tool("greet")
