"""Hostile workers: whatever a worker does, it costs the call that had started there one typed error, and nothing else: the calls of the other
worker go on, what had not started runs elsewhere, the pool is whole again, no descriptor, process or memory is left behind."""

from __future__ import annotations

import contextlib
import os
import pathlib

import pytest
from hostile.host import EXEC, RING, SOCKET, Failed, Host, failure
from hostile.memory import LIMIT, make_group
from programs import LIMIT_S, wait_for

WORKER = str(pathlib.Path(__file__).parent / "hostile" / "worker.py")
MiB = 1024  # in KiB
CHANNELS = {"ring": RING, "socket": SOCKET}


@pytest.fixture
def command(python):
    return [python, "-S", WORKER]


@pytest.fixture
def env(env, build):
    """A worker with a command line of its own finds the package by what the host's environment has."""
    return {**env, "PYTHONPATH": str(build / "python")}


@pytest.fixture(params=CHANNELS)
def channel(request):
    return CHANNELS[request.param]


def calls_go_on(host, n=24):
    """Futures and blocking calls, as many as fit behind and beside what runs."""
    pending = [host.start("submit", "echo", i) for i in range(n)]
    values = [host.call("echo", i) for i in range(n)]
    assert values == list(range(n)) and [p.result() for p in pending] == values


def nothing_lost(host, descriptors):
    """The host is as it was."""
    host.wait_until_whole()
    calls_go_on(host, 4)
    wait_for(lambda: host.descriptors() <= descriptors, "the descriptors of the dead worker to be closed")
    wait_for(lambda: len(host.processes()) == host.options["workers"], "no process but the workers")
    stats = host.stats()
    assert stats["requests"] == stats["succeeded"] + stats["errors"], stats
    assert stats["busy"] == stats["queued"] == 0, stats


def misdeed(host, how, wait="thread"):
    """Runs evil while other calls go on; its error."""
    evil = host.start(wait, "evil", how)
    calls_go_on(host)
    failed = evil.fails()
    assert failed.error["worker_id"].startswith("default/") and failed.error["pool"] == "default", failed.text
    assert failed.error["correlation_id"].startswith("sp-"), failed.text
    assert failed.message and failed.error["worker_id"] in failed.message, failed.text
    return failed


# name: exit class, exit code, signal
ENDS = {
    "exit0": ("unexpected_exit", 0, None),
    "exit3": ("exit_code", 3, None),
    "exit1": ("python_error", 1, None),
    "abort": ("abort", 134, "SIGABRT"),
    "segfault": ("segfault", 139, "SIGSEGV"),
    "fpe": ("fpe", 136, "SIGFPE"),
    "ill": ("illegal_instruction", 132, "SIGILL"),
    "bus": ("bus_error", 135, "SIGBUS"),
    "kill": ("killed", 137, "SIGKILL"),
    "kill_group": ("killed", 137, "SIGKILL"),
    "term": ("signal", 143, "SIGTERM"),
    "usr1": ("signal", 138, "SIGUSR1"),
    "flood_then_exit": ("exit_code", 3, None),
}


@pytest.mark.parametrize("how", ENDS)
def test_ends(build, env, command, channel, how):
    exit_class, code, signal = ENDS[how]
    with Host(build, env, command=command, workers=2, channel=channel) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for n, wait in enumerate(("thread", "submit")):
            failed = misdeed(host, how, wait)
            assert (failed.code, failed.error["retriable"]) == ("worker_crash", True), failed.text
            assert failed.details["exit_class"] == exit_class, failed.text
            assert failed.details["exit_code"] == code, failed.text
            assert failed.details.get("signal") == signal, failed.text
            assert failed.details["command"] == "evil", failed.text
            assert any("snakepit crash show" in text for text in failed.error["suggestions"]), failed.text
            if how in ("exit0", "exit3", "exit1", "abort", "flood_then_exit"):
                assert "last words" in failed.details["stderr"] and "last words" in failed.text
                assert len(failed.details["stderr"]) <= 65536
            nothing_lost(host, descriptors)
            stats = host.stats()
            assert (stats["crashes"], stats["restarts"], stats["errors"]) == (n + 1, n + 1, n + 1)


# What breaks the protocol; the worker is killed for it.
BREAKS = [
    "wrong_id", "id_zero", "version", "flags", "size_zero", "size_small", "no_kind", "unknown_kind", "reserved_kind", "hosts_kind",
    "ready_again", "hello_again", "fields_overrun", "field_broken", "no_fields", "rubbish", "unasked",
    "unasked_and_heard", "unasked_credit", "unasked_send", "unasked_tool_result",
]  # fmt: skip
CONTROL_BREAKS = ["rubbish_control", "log_rubbish"]
RING_BREAKS = [
    "head_ahead", "head_back", "head_odd", "head_nothing", "record_long", "record_max", "record_flags", "record_empty_more",
    "record_short",
]  # fmt: skip
LIMITS = ["size_large", "size_huge"]


def breaks(build, env, command, channel, how, codes):
    with Host(build, env, command=command, workers=2, channel=channel) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for n, wait in enumerate(("thread", "submit")):
            failed = misdeed(host, how, wait)
            assert failed.code in codes, failed.text
            nothing_lost(host, descriptors)
            assert host.stats()["restarts"] == n + 1


@pytest.mark.parametrize("how", BREAKS + CONTROL_BREAKS)
def test_breaks_the_protocol(build, env, command, channel, how):
    # rubbish may also look like a frame that is too long
    breaks(
        build,
        env,
        command,
        channel,
        how,
        {"protocol_error", "limit_exceeded"} if how == "rubbish_control" else {"protocol_error"},
    )


@pytest.mark.parametrize("how", LIMITS)
def test_passes_the_limit(build, env, command, channel, how):
    # in a ring the record says how long a frame is: a header that says something else is a lie
    breaks(build, env, command, channel, how, {"limit_exceeded"} if channel == SOCKET else {"limit_exceeded", "protocol_error"})


@pytest.mark.parametrize("how", RING_BREAKS)
def test_breaks_the_ring(build, env, command, how):
    breaks(
        build,
        env,
        command,
        RING,
        how,
        {"protocol_error", "deserialization_failed", "invalid_utf8"} if how == "rewrite" else {"protocol_error"},
    )


@pytest.mark.parametrize("how", ["close_control", "shut_control"])
def test_leaves_the_connection(build, env, command, channel, how):
    """It goes on running without its socket: it is killed."""
    with Host(build, env, command=command, workers=2, channel=channel) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for wait in ("thread", "submit"):
            failed = misdeed(host, how, wait)
            assert failed.code == "worker_crash", failed.text
            assert "control socket" in failed.message
            nothing_lost(host, descriptors)


@pytest.mark.parametrize("how", ["stop", "hang", "promise_more"])
def test_silence_ends_with_the_deadline(build, env, command, channel, how):
    with Host(build, env, command=command, workers=2, channel=channel, cancel_grace_ms=50) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for n, wait in enumerate(("thread", "submit")):
            answer = host.ask(wait, command="evil", json=f'["{how}"]', timeout_ms=400)
            calls_go_on(host)
            failed = failure(host.outcome, host.ask({"submit": "wait", "thread": "join"}[wait], index=answer["index"]))
            assert failed.code == "deadline_exceeded", failed.text
            wait_for(lambda n=n: host.stats()["restarts"] == n + 1, "the worker to be replaced")
            nothing_lost(host, descriptors)


# What is bad for one call alone: its worker goes on.
PAYLOADS = {
    "payload_empty": "deserialization_failed",
    "payload_cut": "deserialization_failed",
    "payload_trailing": "deserialization_failed",
    "payload_reserved": "deserialization_failed",
    "payload_utf8": "invalid_utf8",
    "payload_ext": "deserialization_failed",
    "payload_count": "deserialization_failed",
    "payload_deep": "limit_exceeded",
    "payload_deeper": "limit_exceeded",
    "payload_deep_maps": "limit_exceeded",
    "payload_exceptions": "limit_exceeded",
    "payload_same_key": "duplicate_key",
    "payload_list_key": "invalid_parameter",
    "error_nil": "python_exception",
    "error_cut": "python_exception",
    "error_types": "python_exception",
    "error_forged": "python_exception",
    "error_control": "python_exception",
    "error_huge": "value_error",
}


@pytest.mark.parametrize("how", PAYLOADS)
def test_bad_values_cost_the_call_alone(build, env, command, channel, how):
    with Host(build, env, command=command, workers=1, channel=channel) as host:
        descriptors = host.descriptors()
        before = host.call("pid")
        for wait in ("thread", "submit"):
            failed = host.start(wait, "evil", how).fails()
            assert failed.code == PAYLOADS[how], failed.text
            assert failed.message
            assert len(failed.text) < 1 << 20
        assert host.call("pid") == before
        nothing_lost(host, descriptors)
        assert host.stats()["restarts"] == 0
        assert host.peak_is_below(128 * MiB)


@pytest.mark.parametrize("how", ["payload_nils", "payload_lists", "payload_maps"])
def test_bombs(build, env, command, channel, how):
    """64 MiB that would be gigabytes as a tree: memory is bounded by 8 times the bytes and 64 MiB."""
    with Host(build, env, command=command, workers=1, channel=channel) as host:
        answer = host.ask("discard", command="evil", argument=how)
        assert answer["name"] == "limit_exceeded", answer
        assert host.peak_is_below((64 + 8 * 64 + 64 + 64) * MiB)
        assert host.call("echo", 1) == 1
        assert host.stats()["restarts"] == 0


def test_many_keys_in_time(build, env, command, channel):
    with Host(build, env, command=command, workers=1, channel=channel) as host:
        result = host.call("evil", "payload_many_keys")
        assert len(result["v"]) == 300_000


@pytest.mark.parametrize(
    "how",
    ["close0", "close1", "close2", "close_segment", "shrink_segment", "header", "cpus", "bells", "claims_all", "tail_back"],
)
def test_what_harms_nobody(build, env, command, channel, how):
    with Host(build, env, command=command, workers=2, channel=channel) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for wait in ("thread", "submit"):
            result = host.start(wait, "evil", how).result()
            assert result != "shrunk"
            calls_go_on(host)
        wait_for(lambda: host.descriptors() <= descriptors, "no new descriptors")
        stats = host.stats()
        assert stats["requests"] == stats["succeeded"] + stats["errors"] and stats["errors"] == 0


@pytest.mark.parametrize("wait", ["thread", "submit"])
def test_a_worker_that_denies_its_call_is_believed_once(build, env, command, channel, wait):
    with Host(build, env, command=command, workers=2, channel=channel) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        failed = host.start(wait, "evil", "forget").fails()
        assert (failed.code, failed.details["exit_code"]) == ("worker_crash", 9), failed.text
        assert host.stats()["crashes"] == 2
        nothing_lost(host, descriptors)


def test_tail_ahead_is_found(build, env, command):
    """The next large call into that ring meets it."""
    with Host(build, env, command=command, workers=1, channel=RING) as host:
        assert host.call("evil", "tail_ahead") == "tail"
        answer = host.ask("echo", kind="bytes", size=1 << 20)
        assert answer["name"] == "protocol_error", answer
        wait_for(lambda: host.stats()["restarts"] == 1 and host.is_whole(), "the worker to be replaced")
        assert host.call("echo", 8) == 8


def test_rewrites_what_is_read(build, env, command):
    """The call gets an answer or a typed error, the host lives, and the worker is replaced."""
    with Host(build, env, command=command, workers=2, channel=RING) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        for n, wait in enumerate(("thread", "submit")):
            evil = host.start(wait, "evil", "rewrite")
            with contextlib.suppress(Failed):
                evil.result()
            for i in range(200):  # what this worker answers is worth nothing; it shall be found out
                if host.stats()["restarts"] > n:
                    break
                host.ask("call", command="echo", json=f"[{i}]", timeout_ms=1000)
            wait_for(lambda: host.is_whole() and host.stats()["restarts"] > 0, "the worker to be replaced")
            nothing_lost(host, descriptors)


@pytest.mark.parametrize("how", ["twice", "later_chunk", "later_credit", "later_tool_call", "later_tool_list"])
def test_goes_on_when_it_has_answered(build, env, command, channel, how):
    """What it sends comes when nothing is asked, or to the next call: that worker is killed, and nobody gets the wrong answer."""
    with Host(build, env, command=command, workers=1, channel=channel) as host:
        assert host.call("evil", how) is None
        for n in range(20):
            answer = host.ask("call", command="echo", json=f"[{n}]")
            assert answer["rc"] != 0 or answer["result"] == str(n), answer
            assert answer["rc"] == 0 or answer["name"] == "protocol_error", answer
        wait_for(lambda: host.stats()["restarts"] == 1 and host.is_whole(), "the worker to be replaced")


def test_endless_fragments(build, env, command):
    with Host(build, env, command=command, workers=2, channel=RING) as host:
        host.wait_until_whole()
        descriptors = host.descriptors()
        failed = misdeed(host, "fragments_endless")
        assert failed.code == "limit_exceeded", failed.text
        nothing_lost(host, descriptors)
        assert host.peak_is_below(256 * MiB)


def test_a_deaf_worker(build, env, command, channel):
    """It never reads: ten megabytes wait until the deadline, then it goes."""
    with Host(build, env, command=[*command, "--deaf"], workers=1, channel=channel, cancel_grace_ms=50) as host:
        answer = host.ask("echo", kind="bytes", size=10 << 20, timeout_ms=300)
        assert answer["name"] == "deadline_exceeded", answer
        wait_for(lambda: host.stats()["restarts"] >= 1, "the worker to be replaced")
        assert host.peak_is_below(128 * MiB)


def test_ignores_sigterm_at_close(build, env, command, channel):
    """Nor does it hear STOP. Host sees to it that nobody is left."""
    deaf = [*command, "--ignore-term", "--deaf"]
    with Host(build, env, command=deaf, workers=2, channel=channel, graceful_shutdown_timeout_ms=300) as host:
        host.wait_until_whole()


# ---- while it starts ----

# how: code of the failed start, words of its message, exit class
STARTS = {
    "exit0": ("start_failed", "before it was ready", "unexpected_exit"),
    "exit3": ("start_failed", "before it was ready", "exit_code"),
    "abort": ("start_failed", "before it was ready", "abort"),
    "rubbish": ("protocol_error", "", None),
    "text": ("protocol_error", "", None),
    "secret": ("protocol_error", "", None),
    "no_secret": ("protocol_error", "", None),
    "newer": ("protocol_mismatch", "2 to 5", None),
    "older": ("protocol_mismatch", "0 to 0", None),
    "upside_down": ("protocol_mismatch", "7 to -3", None),
    "versions_text": ("protocol_error", "", None),
    "hello_list": ("protocol_error", "", None),
    "hello_cut": ("protocol_error", "", None),
    "hello_twice": ("protocol_error", "", None),
    "hello_huge": ("limit_exceeded", "", None),
    "ready_first": ("protocol_error", "", None),
    "ready_list": ("protocol_error", "", None),
    "ready_negative_time": ("protocol_error", "", None),
    "ready_nameless_time": ("protocol_error", "", None),
    "ready_cut": ("protocol_error", "", None),
    "result_first": ("protocol_error", "", None),
    "failed_nonsense": ("start_failed", "", None),
    "failed_lies": ("start_failed", "", None),
    "silent": ("start_timeout", "400 ms", None),
    "never_ready": ("start_timeout", "400 ms", None),
    "dribble": ("start_timeout", "400 ms", None),
    "bells": ("protocol_error", "", None),
    "log_flood": ("start_timeout", "400 ms", None),
    "flood_output": ("start_timeout", "400 ms", None),
    "close_control": ("start_failed", "control socket", None),
}


# What a good worker's start keeps also on a busy machine.
A_START_MS = 4000


def ready_limit(how, short_ms):
    """worker_ready_timeout_ms: short where it ends the misdeed, else so long that it says nothing."""
    if how == "failed_lies":  # it has to be heard first
        return A_START_MS
    return short_ms if STARTS[how][0] == "start_timeout" else LIMIT_S * 1000


@pytest.mark.parametrize("how", STARTS)
def test_start_that_fails(build, env, command, how):
    code, said, exit_class = STARTS[how]
    limit = ready_limit(how, 400)
    host = Host(build, env, command=[*command, "--start", how, "--always"], worker_ready_timeout_ms=limit)
    failed = failure(host.open)
    assert host.peak_is_below(64 * MiB)
    host.end()
    assert failed.code == "no_workers_started"
    cause = failed.cause
    assert cause["code"] == code, failed.text
    assert said in cause["message"], failed.text
    assert cause["worker_id"] == "default/0.1", failed.text
    if code == "start_timeout":  # we killed it: its signal says nothing of the worker
        assert cause["details"]["timeout_ms"] == 400
        assert not {"exit_class", "exit_code", "signal"} & set(cause["details"]), failed.text
    if exit_class is not None:
        assert cause["details"]["exit_class"] == exit_class
    if how == "exit3":
        assert cause["details"]["stderr"] == "no licence for this library\n"
        assert "no licence for this library" in failed.text
    if code == "protocol_mismatch":
        details = cause["details"]
        assert (details["worker_min"], details["worker_max"]) in ((2, 5), (0, 0), (7, -3))
        assert (details["host_min"], details["host_max"]) == (1, 1)
        assert cause["suggestions"]


@pytest.mark.parametrize("how", STARTS)
def test_one_bad_start_spares_the_pool(build, env, command, channel, how):
    """The other worker serves at once; the bad one's successor makes the pool whole."""
    limit = ready_limit(how, A_START_MS)
    with Host(
        build, env, command=[*command, "--start", how], workers=2, channel=channel, worker_ready_timeout_ms=limit
    ) as host:
        calls_go_on(host)
        host.wait_until_whole()
        assert [w["generation"] for w in host.workers()] == [2, 1]
        nothing_lost(host, host.descriptors())
        assert host.stats()["crashes"] == 0  # a start that fails is no crash


# What runs out of memory. The machine's counter of such ends rises: a test that runs meanwhile must not have a worker killed from outside, so these
# stand in the file of those that do.
HUNGRY = """
def pid(self):
    return os.getpid()

def take(self, n):
    self.held = bytearray(n)
    return len(self.held)

def limit(self, n):
    resource.setrlimit(resource.RLIMIT_AS, (n, n))
"""


@pytest.fixture
def hungry(build, env, adapter):
    with Host(build, env, adapter=adapter(HUNGRY, before="import os\nimport resource"), start_mode=EXEC) as host:
        yield host


@pytest.fixture
def group():
    try:
        made = make_group(f"snakepit-oom-{os.getpid()}")
    except OSError as why:
        pytest.skip(f"no control group with a limit of memory can be made here: {why}")
    yield made
    wait_for(lambda: not (made / "cgroup.procs").read_text(), "the group to be empty")
    made.rmdir()


def counts_kills() -> bool:
    try:
        return "\noom_kill " in pathlib.Path("/proc/vmstat").read_text()
    except OSError:
        return False


def test_a_worker_that_the_kernel_ends_is_said_to_be(hungry, group):
    if not counts_kills():
        pytest.skip("this kernel does not count whom it ends")
    worker = hungry.call("pid")
    (group / "cgroup.procs").write_text(str(worker))
    assert hungry.call("take", 1 << 20) == 1 << 20
    failed = hungry.fails("take", 4 * LIMIT)
    assert failed.code == "worker_crash", failed.text
    assert failed.details["exit_class"] == "oom_suspected", failed.text
    assert failed.details["signal"] == "SIGKILL" and failed.details["exit_code"] == 137, failed.text
    assert any("memory" in text for text in failed.error["suggestions"]), failed.text
    assert hungry.call("pid") != worker


def test_at_its_own_limit_the_call_fails_and_the_worker_goes_on(hungry):
    worker = hungry.call("pid")
    hungry.call("limit", 4 << 30)
    failed = hungry.fails("take", 8 << 30)
    assert failed.code == "out_of_memory", failed.text
    assert hungry.call("pid") == worker
    assert hungry.stats()["crashes"] == 0
