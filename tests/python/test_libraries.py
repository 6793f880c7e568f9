"""Objects of NumPy, SciPy, torch, pyarrow, pandas, polars and pydantic: each test runs where its library is."""

import datetime
import os
import warnings

import pytest
from snakepit_bridge import _convert
from snakepit_bridge._registry import POLICY_MARKER, SETTINGS
from snakepit_bridge.values import Tensor, Unserializable
from value_kit import CODECS, failure, same


@pytest.fixture(params=CODECS)
def codec(request):
    return request.param


def through(codec, value):
    return codec.decode(codec.encode(value, POLICY_MARKER))


def library(name):
    if name == "polars" and "libtsan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("polars does not run under ThreadSanitizer")
    return pytest.importorskip(name, exc_type=ImportError)


# ---- NumPy ----

DTYPES = "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (0,), (3, 0)])
def test_arrays(codec, dtype, shape):
    np = library("numpy")
    given = (np.arange(int(np.prod(shape))) % 2).astype(dtype).reshape(shape)
    back = through(codec, given)
    assert same(back, given) and back.flags.writeable and back.flags.aligned and back.flags.owndata
    assert codec.encode(back) == codec.encode(given)


def test_arrays_in_any_layout(codec):
    np = library("numpy")
    given = np.arange(24, dtype="i4").reshape(2, 3, 4)
    for odd in (
        np.asfortranarray(given),
        given[:, ::-1],
        given.T,
        given.astype(">i4"),
        given[0, 1:, ::2],
        np.broadcast_to(given[0, 0], (5, 4)),
    ):
        back = through(codec, odd)
        assert np.array_equal(back, odd) and back.dtype == np.dtype("i4") and back.flags.c_contiguous
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        assert same(through(codec, np.matrix([[1.5]])), np.array([[1.5]]))


def test_scalars_are_plain(codec):
    np = library("numpy")
    for value, plain in [
        (np.float64(1.5), 1.5), (np.float32(0.5), 0.5), (np.float16(2), 2.0), (np.longdouble(1.5), 1.5), (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1), (np.bool_(True), True), (np.complex64(1j), 1j), (np.str_("x"), "x"), (np.bytes_(b"x"), b"x"),
        (np.array(5), 5), (np.array(True), True), (np.array(1.5, dtype=object), 1.5),
    ]:  # fmt: skip
        assert same(through(codec, value), plain), value
    assert through(codec, {np.int64(5): np.bool_(False)}) == {5: False}


def test_times_of_numpy(codec):
    np = library("numpy")
    for text, plain in [
        ("2026-01-02", datetime.date(2026, 1, 2)), ("2026-01", datetime.date(2026, 1, 1)), ("NaT", None),
        ("1969-12-31T23:59:59.999999", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
        ("2026-01-02T03:04:05.000000006", datetime.datetime(2026, 1, 2, 3, 4, 5)), ("2026-01-02T03", datetime.datetime(2026, 1, 2, 3)),
    ]:  # fmt: skip
        assert same(through(codec, np.datetime64(text)), plain), text
    assert codec.encode(np.datetime64("1970-01-01T00:00:00.000000006")).hex() == "c70d0700000000000000000000000600"
    assert through(codec, np.timedelta64(-1500, "ms")) == datetime.timedelta(seconds=-1.5)
    assert through(codec, np.timedelta64(5, "Y")) == "5 years"
    assert through(codec, [np.timedelta64(5, "M"), np.timedelta64(7)]) == ["5 months", "7 generic time units"]
    assert through(codec, np.datetime64("20000-01-01")) == "20000-01-01"
    assert through(codec, np.datetime64(2**60, "s")).endswith("-05-13T13:56:16")
    moments = np.array([["2026-01-01", "NaT"]], "M8[s]")
    assert through(codec, moments) == [[datetime.datetime(2026, 1, 1), None]]


def test_arrays_of_other_things(codec):
    np = library("numpy")
    assert through(codec, np.array(["a", "b"])) == ["a", "b"]
    assert through(codec, np.array([1, None, np.float32(2)], object)) == [1, None, 2.0]
    assert through(codec, np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])) == [(1, 2.5)]
    assert through(codec, np.ma.array([1, 2], mask=[False, True])) == [1, None]
    assert through(codec, np.dtype("f4")).type.startswith("numpy.")


def test_the_guard_on_arrays(codec, monkeypatch):
    np = library("numpy")
    monkeypatch.setattr(_convert, "_max_elements", 10)
    assert through(codec, np.zeros(11, object)) == Unserializable("numpy.ndarray")
    assert through(codec, np.zeros(11, "M8[s]")) == Unserializable("numpy.ndarray")
    assert through(codec, np.zeros(11)).shape == (11,)
    assert failure(codec.encode, [np.zeros(11, object)]) == ("unserializable", "[0]")


def test_tensors_of_other_types_as_arrays(codec):
    np = library("numpy")
    half = through(codec, Tensor("bf16", (2, 1), b"\x80\x3f\x00\xc0"))
    if isinstance(half, Tensor):
        assert np.asarray(half).tolist() == [[1.0], [-2.0]]
        assert np.asarray(half, dtype="f8").dtype == np.dtype("f8")
    assert np.asarray(Tensor("c64", (1,), np.array([1j], "c8").tobytes())).tolist() == [1j]


def test_bfloat16_of_ml_dtypes(codec):
    ml_dtypes, np = library("ml_dtypes"), library("numpy")
    given = np.array([1.5, -2], ml_dtypes.bfloat16)
    assert same(through(codec, given), given)
    assert through(codec, ml_dtypes.bfloat16(1.5)) == 1.5


def test_sparse_matrices(codec, monkeypatch):
    sparse, np = library("scipy.sparse"), library("numpy")
    eye = sparse.eye(3, format="csr")
    assert same(through(codec, eye), np.eye(3))
    monkeypatch.setattr(_convert, "_max_elements", 8)
    assert isinstance(through(codec, eye), Unserializable)
    assert isinstance(through(codec, sparse.coo_matrix((1 << 20, 1 << 20))), Unserializable)


# ---- torch ----


def test_torch(codec):
    torch, np = library("torch"), library("numpy")
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    for given in (
        base,
        base.t(),
        base.clone().requires_grad_(),
        torch.nn.Parameter(base),
        base.to_sparse(),
        base.half(),
        base > 2,
        base.long(),
    ):
        back = through(codec, given)
        assert np.array_equal(back, given.detach().to_dense().numpy() if given.is_sparse else given.detach().numpy())
        assert torch.from_numpy(back).dtype == given.dtype
    assert through(codec, torch.tensor(2.5)) == 2.5
    assert same(through(codec, torch.tensor(True)), True)
    assert through(codec, torch.tensor([1 + 2j]).conj())[0] == 1 - 2j
    assert through(codec, torch.Size([1, 2])) == (1, 2)
    assert through(codec, torch.nn.Linear(1, 1)) == Unserializable("torch.nn.modules.linear.Linear")
    assert isinstance(through(codec, torch.ones(2, device="meta")), Unserializable)


def test_bfloat16_of_torch(codec):
    torch = library("torch")
    given = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
    back = codec.decode(codec.encode(given))
    if isinstance(back, Tensor):
        assert torch.equal(torch.frombuffer(back.data, dtype=torch.bfloat16).reshape(back.shape), given)
    assert codec.encode(back) == codec.encode(given)


# ---- tables ----


def test_tables_of_arrow(codec):
    pa = library("pyarrow")
    table = pa.table({"a": [1, None], "b": ["x", "y"]}, metadata={"k": "v"})
    back = through(codec, table)
    assert back.equals(table) and back.schema.equals(table.schema, check_metadata=True)
    batch = table.to_batches()[0]
    back = through(codec, [batch])[0]
    assert type(back) is pa.RecordBatch and back.equals(batch)
    assert through(codec, table.slice(0, 0)).num_rows == 0
    assert through(codec, [table["b"], pa.array([1.5]), pa.scalar(5)]) == [["x", "y"], [1.5], 5]
    assert isinstance(through(codec, table.schema), Unserializable)
    data = codec.encode(table)
    for broken in (data[:-20], b"\xd4\x0e\xc0"):
        broken = b"\xc8" + len(broken[4:]).to_bytes(2, "big") + broken[3:] if len(broken) > 3 else broken
        assert failure(codec.decode, broken)[0] == "deserialization_failed"


def test_frames_of_pandas(codec):
    pa, pd = library("pyarrow"), library("pandas")
    frame = pd.DataFrame({"a": [1, 2], "t": pd.to_datetime(["2026", "2027"])}, index=["x", "y"])
    assert through(codec, frame).to_pandas().equals(frame)
    assert through(codec, frame["a"]).column_names == ["a", "__index_level_0__"]
    assert type(through(codec, frame)) is pa.Table
    odd = pd.DataFrame({"a": [object(), 1]})
    assert through(codec, odd) == {"a": [Unserializable("object"), 1]}
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert through(codec, twice) == Unserializable(f"{type(twice).__module__}.DataFrame")


def test_frames_of_pandas_without_arrow(codec, monkeypatch):
    pd = library("pandas")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, dtype=object)
    back = through(codec, frame)
    assert list(back) == ["a", "b"] and back["a"] == [1, 2] and back["b"][0] == "x"
    assert through(codec, pd.Series([1, 2], index=[7, 9], name="s")) == {"s": [1, 2], "__index_level_0__": [7, 9]}
    monkeypatch.setattr(_convert, "_max_elements", 3)
    assert isinstance(through(codec, frame), Unserializable)


def test_scalars_of_pandas(codec):
    pd = library("pandas")
    assert through(codec, [pd.NaT, pd.NA]) == [None, None]
    moment = pd.Timestamp("2026-01-01T00:00:00.123456789")
    assert codec.encode(moment).hex() == "c70d070000000069" + "55b900" + "075bcd15" + "00"
    assert codec.encode(pd.Timedelta("-1ns")).hex() == "c70c0affffffffffffffff3b9ac9ff"
    assert through(codec, [pd.Index([1, 2]), pd.Categorical(["a"])]) == [[1, 2], ["a"]]


def test_frames_of_polars(codec):
    pl, pa = library("polars"), library("pyarrow")
    back = through(codec, [pl.DataFrame({"a": [1, 2], "s": ["x", "y"]}), pl.Series("q", [1.5])])
    assert type(back[0]) is pa.Table and back[0].to_pydict() == {"a": [1, 2], "s": ["x", "y"]}
    assert back[1].to_pydict() == {"q": [1.5]}
    assert isinstance(through(codec, pl.LazyFrame({"a": [1]})), Unserializable)


def test_objects_in_polars_are_no_addresses(codec, monkeypatch):
    pl = library("polars")
    frame = pl.DataFrame({"n": [1, 2], "o": [object(), {"x": 1}]}, schema={"n": pl.Int64, "o": pl.Object})
    kind = Unserializable("object")
    assert through(codec, frame) == {"n": [1, 2], "o": [kind, {"x": 1}]}
    assert through(codec, pl.Series("s", [object()], dtype=pl.Object)) == {"s": [kind]}
    assert failure(codec.encode, [frame]) == ("unserializable", '[0]["o"][0]')
    nested = pl.Struct([pl.Field("a", pl.List(pl.Object))])
    assert _convert._holds_objects(pl, nested) and not _convert._holds_objects(pl, pl.List(pl.Int8))
    monkeypatch.setattr(_convert, "_max_elements", 3)
    assert isinstance(through(codec, frame), Unserializable)


def test_types_of_ones_own_in_arrow(codec):
    pa = library("pyarrow")

    class Opaque(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.int64(), "snakepit.test")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, data):
            return cls()

    array = pa.ExtensionArray.from_storage(Opaque(), pa.array([1, 2]))
    assert through(codec, pa.table({"o": array}))["o"].to_pylist() == [1, 2]
    assert through(codec, [array, array[0]]) == [[1, 2], 1]


# ---- the frame ----


@pytest.fixture
def small_frame(monkeypatch):
    monkeypatch.setitem(SETTINGS, "max_frame_bytes", 1 << 20)


def test_arrays_larger_than_a_frame_are_not_copied(codec, small_frame, monkeypatch):
    np = library("numpy")
    monkeypatch.setattr(np, "ascontiguousarray", None)
    whole = np.broadcast_to(np.float32(1), (1 << 20, 1 << 10))
    for odd in (whole, whole.T, np.broadcast_to(np.array(1, ">i4"), (1 << 29,))):
        assert failure(codec.encode, {"a": odd}) == ("limit_exceeded", '["a"]')


def test_four_gigabytes_are_a_limit_without_a_frame(codec):
    np = library("numpy")
    assert failure(codec.encode, [np.broadcast_to(np.float32(1), (1 << 20, 1 << 10))]) == ("limit_exceeded", "[0]")


def test_tensors_larger_than_a_frame_are_not_copied(codec, small_frame):
    torch = library("torch")
    for large in (torch.ones(1).expand(1 << 40), torch.ones(1, dtype=torch.bfloat16).expand(1 << 19, 2)):
        assert failure(codec.encode, [large]) == ("limit_exceeded", "[0]")
    assert through(codec, torch.ones(1).expand(1 << 10)).shape == (1 << 10,)


def test_sparse_matrices_larger_than_a_frame(codec, small_frame):
    sparse = library("scipy.sparse")
    assert failure(codec.encode, [sparse.eye(500, format="csr")]) == ("limit_exceeded", "[0]")


def test_tables_larger_than_a_frame_are_not_copied(codec, small_frame, monkeypatch):
    pa = library("pyarrow")
    column = pa.array(range(1 << 16))
    before = pa.total_allocated_bytes()
    assert failure(codec.encode, [pa.table({str(i): column for i in range(3)})]) == ("limit_exceeded", "[0]")
    assert pa.total_allocated_bytes() == before
    shared = pa.array(["x" * 1000] * 1000).dictionary_encode()
    many = pa.table({"d": pa.chunked_array([shared] * 10)})
    monkeypatch.setitem(SETTINGS, "max_frame_bytes", many.nbytes - 1)
    assert through(codec, many).equals(many)  # its chunks share their words


def test_frames_of_pandas_larger_than_a_frame(codec, small_frame):
    pd, np = library("pandas"), library("numpy")
    large = pd.DataFrame({"a": np.zeros(1 << 18), "b": ["x"] * (1 << 18)})
    assert failure(codec.encode, [large]) == ("limit_exceeded", "[0]")


def test_frames_of_polars_larger_than_a_frame(codec, small_frame):
    pl = library("polars")
    large = pl.DataFrame({"a": pl.zeros(1 << 18, eager=True), "b": pl.repeat("x", 1 << 18, eager=True)})
    assert failure(codec.encode, [large]) == ("limit_exceeded", "[0]")


def test_models_of_pydantic(codec):
    pydantic = library("pydantic")

    class Model(pydantic.BaseModel):
        a: int = 1
        when: datetime.date = datetime.date(2026, 1, 1)

    assert through(codec, [Model()]) == [{"a": 1, "when": datetime.date(2026, 1, 1)}]


def test_a_worker_knows_its_frame(worker):
    library("numpy")
    w = worker(
        """
        import numpy as np

        class A:
            def huge(self):
                return {"a": np.broadcast_to(np.float32(1), (1 << 40, 1 << 10))}
        """,
        welcome={"max_frame_bytes": 1 << 20},
    )
    error = w.error("huge")
    assert (error["code"], error["details"]) == ("limit_exceeded", {"key": '["a"]'})
    assert "max_frame_bytes" in error["message"]
