"""What stands in the place of objects that cannot leave: policies, markers and what they tell, by real workers."""

import time

import pytest
from bridge_host import ERROR, LOG, RESULT, payload_of
from snakepit_bridge import _codec
from snakepit_bridge.values import ObjectRef, Unserializable

SOURCE = """
    import os
    from snakepit_bridge import current_context

    class _Opaque:
        def __repr__(self):
            return "<Opaque api_key='abc123' sk-abcdefghij0123456789 Bearer xyz " + "x" * 3000

    class _Shy:
        def __repr__(self):
            raise SystemExit("no")

    class A:
        def give(self, n=1):
            return {"good": [1, (2,)], "bad": [_Opaque()] * n, "shy": (_Shy(),)}

        def fork(self, path):
            # the size of a file that has the number of the control socket in the child, which returns an object
            child = os.fork()
            if child == 0:
                self.files = [os.open(path, os.O_WRONLY | os.O_CREAT) for _ in range(100)]
                return _Opaque()
            os.waitpid(child, 0)
            return os.path.getsize(path)

        def key(self):
            return {_Opaque(): 1}

        def echo(self, value):
            return value

        def cut(self, *values):
            return current_context().times_truncated

        async def acut(self, *values):
            return current_context().times_truncated

        def fail(self):
            from snakepit_bridge import SnakepitError
            raise SnakepitError("not_found", "with details", {"opaque": _Opaque(), "fine": 5})
"""

OPAQUE, SHY = "adapter._Opaque", "adapter._Shy"


def options(**entries):
    return [(6, _codec.encode(entries))]


def give(w, **entries):
    """The call's outcome with these options."""
    w.send_call("give", fields=options(**entries) if entries else None)
    kind, _, _, value = w.answer()
    return kind, value


def test_a_marker_takes_its_place(worker):
    w = worker(SOURCE)
    kind, value = give(w, on_unserializable="marker")
    assert kind == RESULT
    assert value == {"good": [1, (2,)], "bad": [Unserializable(OPAQUE)], "shy": (Unserializable(SHY),)}


@pytest.mark.parametrize("policy", ["error", "ref"])
def test_an_error_names_path_and_type(worker, policy):
    w = worker(SOURCE)
    kind, value = give(w, on_unserializable=policy)
    assert kind == ERROR
    assert (value["code"], value["details"]["key"]) == ("unserializable", '["bad"][0]')
    assert OPAQUE in value["message"]
    assert bool(value["suggestions"]) == (policy == "ref")
    assert w.call("echo", 1) == 1


def test_the_host_sets_the_policy(worker):
    for policy, kind in (("error", ERROR), ("marker", RESULT)):
        w = worker(SOURCE, welcome={"serialization": {"on_unserializable": policy}})
        assert give(w)[0] == kind
    w = worker(SOURCE, welcome={"serialization": {"on_unserializable": "error"}})
    assert give(w, on_unserializable="marker")[0] == RESULT
    assert give(w, on_unserializable=7, other=[1])[0] == ERROR


def test_a_marker_is_no_key(worker):
    w = worker(SOURCE)
    w.send_call("key", fields=options(on_unserializable="marker"))
    kind, _, _, value = w.answer()
    assert (kind, value["code"], value["details"]["key"]) == (ERROR, "unserializable", "[...]")


def test_details_of_an_error_survive(worker):
    error = worker(SOURCE).error("fail")
    assert error["details"] == {"opaque": Unserializable(OPAQUE), "fine": 5}


@pytest.mark.parametrize("value", [Unserializable("t"), Unserializable("t", "r"), ObjectRef("i", "t", "w", "s", 5)])
def test_placeholders_come_back(worker, value):
    assert worker(SOURCE).call("echo", [value]) == [value]


# ---- what a marker tells ----


def marker(worker, monkeypatch, welcome=None, **environment):
    for name, text in environment.items():
        monkeypatch.setenv(f"SNAKEPIT_{name}", text)
    w = worker(SOURCE, welcome={"serialization": welcome} if welcome else None)
    value = give(w, on_unserializable="marker")[1]
    assert value["shy"] == (Unserializable(SHY),)
    return value["bad"][0]


SECRETS = ("abc123", "sk-abcdefghij", "xyz")


@pytest.mark.parametrize("detail", ["none", "type", "", "REPR", "everything"])
def test_without_a_repr(worker, monkeypatch, detail):
    assert marker(worker, monkeypatch, UNSERIALIZABLE_DETAIL=detail) == Unserializable(OPAQUE)


@pytest.mark.parametrize(("maxlen", "n"), [(None, 500), ("20", 20), ("0", 0), ("99999", 2000), ("-5", 0), ("many", 500)])
def test_a_truncated_repr(worker, monkeypatch, maxlen, n):
    environment = {} if maxlen is None else {"UNSERIALIZABLE_REPR_MAXLEN": maxlen}
    found = marker(worker, monkeypatch, UNSERIALIZABLE_DETAIL="repr_truncated", **environment)
    assert found.type == OPAQUE and len(found.repr) == n
    assert found.repr == ("<Opaque api_key='abc123' sk-abcdefghij0123456789 Bearer xyz " + "x" * 3000)[:n]


def test_a_redacted_repr(worker, monkeypatch):
    found = marker(worker, monkeypatch, UNSERIALIZABLE_DETAIL="repr_redacted_truncated", UNSERIALIZABLE_REPR_MAXLEN="80")
    assert found.repr.startswith("<Opaque api_key='<REDACTED>' <REDACTED> Bearer <REDACTED> xxx") and len(found.repr) == 80
    assert not any(secret in found.repr for secret in SECRETS)


def test_the_host_sets_the_detail(worker, monkeypatch):
    found = marker(worker, monkeypatch, {"detail": "repr_truncated", "repr_maxlen": 7}, UNSERIALIZABLE_DETAIL="none")
    assert found.repr == "<Opaque"


# ---- telemetry ----


def test_each_type_is_reported_once(worker, monkeypatch):
    monkeypatch.setenv("SNAKEPIT_UNSERIALIZABLE_DETAIL", "repr_truncated")
    w = worker(SOURCE)
    for _ in range(3):
        assert give(w, on_unserializable="marker")[0] == RESULT
    w.stop()
    for data in iter(w.recv_frame, None):  # over the rings they wait in the control socket
        kind, _, _, payload = payload_of(data)
        assert kind == LOG
        w.logs.append(payload)
    texts = [entry["text"] for entry in w.logs if "marker" in entry["text"]]
    assert len(texts) == 2
    assert sum(OPAQUE in text for text in texts) == sum(SHY in text for text in texts) == 1
    assert not any(secret in text for secret in SECRETS for text in texts)


def test_a_forked_child_reports_nothing(worker, tmp_path):
    assert worker(SOURCE).call("fork", str(tmp_path / "file")) == 0


# ---- times ----

EXACT = "c70d07000000006b01a3d80000100000"  # 1048576 ns
FINE = "c70d07000000006b01a3d8000f424000"  # 1000000 ns


@pytest.mark.parametrize("command", ["cut", "acut"])
def test_cut_times_are_told_to_their_call(worker, command):
    w = worker(SOURCE)
    head = _codec.encode(command)
    nested = b"\x91\x81\xa1k\x91"
    for data, cut in ((EXACT, True), (FINE, False), (EXACT, True), ("c0", False)):
        w.send_call(command, payload=head + nested + bytes.fromhex(data))
        assert w.answer()[3] is cut
    # a call that fails in its arguments leaves nothing to the next one
    w.send_call(command, payload=head + b"\x92" + bytes.fromhex(EXACT) + b"\xc1")
    assert w.answer()[0] == ERROR
    w.send_call(command, payload=head + b"\x91" + bytes.fromhex(FINE))
    assert w.answer()[3] is False


# ---- what it costs ----


def test_a_repr_is_not_made_for_nothing(worker):
    """A hundred thousand markers of objects whose repr would be slow."""
    w = worker(SOURCE)
    begun = time.monotonic()
    w.send_call("give", 100_000, fields=options(on_unserializable="marker"))
    kind, _, _, value = w.answer()
    assert kind == RESULT and len(value["bad"]) == 100_000
    assert time.monotonic() - begun < 60


def test_a_class_that_cannot_be_asked(worker):
    """Whether it can be awaited is asked of every result that is no plain value, in each lane."""
    w = worker(
        """
        class _Meta(type):
            def __getattribute__(cls, name):
                raise RuntimeError("asked for " + name)

        class _Closed(metaclass=_Meta):
            pass

        class A:
            def closed(self):
                return _Closed()
        """
    )
    w.send_call("closed")
    kind, _, _, value = w.answer()
    assert (kind, value) == (RESULT, Unserializable("adapter._Closed"))
