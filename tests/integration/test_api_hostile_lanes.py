"""Hostile workers that serve several lanes: what one lane does costs the calls that had started in its process a typed error each, and nobody else
anything. Which lane is the evil one is left to chance: each misdeed is done by as many calls as there are lanes, one after the other."""

from __future__ import annotations

import pathlib

import pytest
from hostile.host import Failed, Host
from programs import wait_for

WORKER = str(pathlib.Path(__file__).parent / "hostile" / "worker.py")
WORKERS, LANES = 2, 3

# what becomes of the call that did it
DEATHS = {"abort": "worker_crash", "segfault": "worker_crash", "kill": "worker_crash", "exit3": "worker_crash"}
BREAKS = [
    "wrong_id", "id_zero", "version", "size_small", "unknown_kind", "hosts_kind", "field_broken", "rubbish", "unasked", "rubbish_control",
    "head_ahead", "head_back", "head_odd", "record_long", "record_max", "record_flags", "record_short",
]  # fmt: skip
HARMLESS = {
    "claims_all": "claimed",
    "bells": "rung",
    "cpus": "nowhere",
    "close1": "closed",
    "payload_deeper": None,
    "error_types": None,
}
# what the calls beside it may get: they had started in the process that was ended
BESIDE = {"worker_crash", "protocol_error", "limit_exceeded", "worker_lost"}


@pytest.fixture
def env(env, build):
    return {**env, "PYTHONPATH": str(build / "python")}


@pytest.fixture
def host(build, env, python):
    with Host(build, env, command=[python, "-S", WORKER], workers=WORKERS, profile="thread", threads_per_worker=LANES) as host:
        wait_until_whole(host)
        yield host


def wait_until_whole(host):
    wait_for(lambda: host.stats()["available"] == WORKERS and len(host.workers()) == WORKERS, "the pool to be whole")


def around(host, how):
    """Calls before, beside and after it; its outcome, which is the code of its error or its answer, and its worker."""
    beside = [host.start("submit", "echo", i) for i in range(2 * WORKERS * LANES)]
    evil = host.start("thread", "evil", how)
    beside += [host.start("submit", "echo", i) for i in range(len(beside), 2 * len(beside))]
    try:
        outcome, worker = evil.result(), None
    except Failed as failed:
        outcome, worker = failed.code, failed.error["worker_id"]
        assert failed.message and failed.error["correlation_id"].startswith("sp-"), failed.text
    for i, call in enumerate(beside):
        try:
            assert call.result() == i
        except Failed as failed:
            assert failed.code in BESIDE and failed.error["worker_id"] == worker, failed.text
    return outcome


def nothing_lost(host, descriptors):
    wait_until_whole(host)
    assert [host.call("echo", i) for i in range(WORKERS * LANES)] == list(range(WORKERS * LANES))
    wait_for(lambda: host.descriptors() <= descriptors, "the descriptors of the dead worker to be closed")
    wait_for(lambda: len(host.processes()) == WORKERS, "no process but the workers")
    stats = host.stats()
    assert stats["requests"] == stats["succeeded"] + stats["errors"], stats
    assert stats["busy"] == stats["queued"] == 0, stats


@pytest.mark.parametrize("how", [*DEATHS, *BREAKS])
def test_a_lane_takes_its_process_along_and_nobody_else(host, how):
    descriptors = host.descriptors()
    outcome = around(host, how)
    if how in DEATHS:
        assert outcome == DEATHS[how]
    else:
        assert outcome in ("protocol_error", "limit_exceeded")
    nothing_lost(host, descriptors)
    assert host.stats()["restarts"] == 1


@pytest.mark.parametrize("how", HARMLESS)
def test_what_harms_nobody(host, how):
    descriptors, before = host.descriptors(), sorted(w["pid"] for w in host.workers())
    for _ in range(LANES):
        outcome = around(host, how)
        assert HARMLESS[how] is None or outcome == HARMLESS[how]
    nothing_lost(host, descriptors)
    assert sorted(w["pid"] for w in host.workers()) == before and host.stats()["restarts"] == 0


def test_a_stopped_worker_costs_its_own_lanes(build, env, python):
    """The calls of one process wait for their deadline; the other process serves on."""
    with Host(
        build,
        env,
        command=[python, "-S", WORKER],
        workers=WORKERS,
        profile="thread",
        threads_per_worker=LANES,
        cancel_grace_ms=50,
    ) as host:
        wait_until_whole(host)
        descriptors = host.descriptors()
        with pytest.raises(Failed) as caught:
            host.call_json("evil", '["stop"]', timeout_ms=300)
        assert caught.value.code == "deadline_exceeded", caught.value.text
        nothing_lost(host, descriptors)
        assert len(host.workers()) == WORKERS
