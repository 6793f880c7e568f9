"""snakepit doctor: what it finds in a sound world, and what it says in broken ones: each problem is named, with what to do about it."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile

import pytest
from programs import LIMIT_S

ROWS = [
    *("version", "kernel", "privileges", "cpus", "memory", "shm", "files", "processes", "memlock", "cgroup", "crashes"),
    *("python", "python_version", "venv", "guard", "worker", "registry", "package", "extension", "call", "zygote"),
]
ECHO = """
def echo(self, value):
    return value
"""


@pytest.fixture
def doctor(snakepit, env):
    """doctor(..., VARIABLE=value, other=options) -> (exit status, {name: row}); a value of None takes the variable away."""

    def run(*arguments: str, **options):
        variables = {name: options.pop(name) for name in list(options) if name.isupper()}
        merged = {name: value for name, value in {**env, **variables}.items() if value is not None}
        done = snakepit("doctor", "-o", "json", *arguments, env=merged, **options)
        assert done.stderr == ""
        report = json.loads(done.stdout)
        rows = {row["name"]: row for row in report["checks"]}
        for row in rows.values():
            assert set(row) == {"status", "name", "message", "remedy"}
            assert row["status"] == "ok" or row["remedy"], row
        statuses = [row["status"] for row in report["checks"]]
        assert (report["failed"], report["warned"]) == (statuses.count("fail"), statuses.count("warn"))
        assert done.returncode == (1 if report["failed"] else 0)
        assert report["ok"] is (done.returncode == 0)
        return done.returncode, rows

    return run


def test_doctor(snakepit, env, tmp_path):
    done = snakepit("doctor", env={**env, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line[:4] in ("ok  ", "warn", "fail")]
    assert [line.split("[")[1].split("]")[0] for line in lines] == ROWS
    assert not any(line.startswith("fail") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_where_the_registry_is(doctor, tmp_path):
    status, rows = doctor(SNAKEPIT_DATA_DIR=str(tmp_path / "data"))
    assert status == 0 and rows["registry"]["message"] == f"kept in {tmp_path}/data"
    status, rows = doctor(XDG_STATE_HOME=None, HOME=None)
    assert status == 0 and rows["registry"]["status"] == "warn"
    assert "neither HOME nor SNAKEPIT_DATA_DIR" in rows["registry"]["message"]
    (tmp_path / "file").write_text("")
    status, rows = doctor(XDG_STATE_HOME=str(tmp_path / "file"))
    assert status == 0 and rows["registry"]["status"] == "warn" and f"{tmp_path}/file" in rows["registry"]["message"]


def test_what_has_died_lately(doctor, tmp_path):
    crashes = tmp_path / "data" / "crashes"

    def row():
        return doctor("--python", "/bin/true", SNAKEPIT_DATA_DIR=str(tmp_path / "data"))[1]["crashes"]

    assert row()["status"] == "ok" and "no worker has died yet" in row()["message"]
    crashes.mkdir(parents=True)
    (crashes / "notes.json").write_text("{}")
    assert row()["status"] == "ok" and "no worker's death" in row()["message"]
    for n, evil in enumerate(["a.py, line 3, in f", "\x1b]0;PWN\x07" + "x" * 5000]):
        dossier = {"id": "x", "worker_id": "default/0.1", "exit_class": "segfault", "python_at": evil}
        (crashes / f"0abc9zz-default-0.{n + 1}.json").write_text(json.dumps(dossier))
        os.utime(crashes / f"0abc9zz-default-0.{n + 1}.json", (100 + n, 100 + n))
    told = row()
    assert told["status"] == "ok" and "0 workers died within the last hour, 2 dossiers are kept" in told["message"]
    assert (
        "0abc9zz-default-0.2, default/0.1, segfault, \\u001b]0;PWN\\u0007xxx" in told["message"] and len(told["message"]) < 600
    )
    (crashes / "0abc9zz-default-0.1.json").touch()
    told = row()
    assert told["status"] == "warn" and "1 worker died within the last hour" in told["message"]
    assert told["message"].endswith("0abc9zz-default-0.1, default/0.1, segfault, a.py, line 3, in f")
    assert told["remedy"].startswith("snakepit crash show 0abc9zz-default-0.1;")
    (crashes / "0abc9zz-default-0.1.json").write_text("{")
    assert row()["message"].endswith("the newest: 0abc9zz-default-0.1")
    shutil.rmtree(crashes)
    crashes.write_text("")
    assert row()["status"] == "warn" and str(crashes) in row()["message"]


def test_as_json(doctor, build, python):
    status, rows = doctor()
    assert status == 0
    assert list(rows) == ROWS
    assert rows["guard"]["message"] == str(build / "snakepit-guard")
    assert python in rows["python"]["message"] and "SNAKEPIT_PYTHON" in rows["python"]["message"]
    assert "calls answered rightly" in rows["call"]["message"]


# ---- Python ----


def test_no_python(doctor, tmp_path):
    (tmp_path / "bin").mkdir()
    status, rows = doctor(PATH=str(tmp_path / "bin"), SNAKEPIT_PYTHON=None)
    assert status == 1 and rows["python"]["status"] == "fail"
    assert "python3" in rows["python"]["remedy"]
    assert "worker" not in rows


@pytest.mark.parametrize("path, said", [("/no/such/python", "does not run"), ("/bin/true", "is no Python")])
def test_a_python_that_is_none(doctor, path, said):
    status, rows = doctor("--python", path)
    assert status == 1 and rows["python"]["status"] == "fail" and said in rows["python"]["message"]


def test_a_python_that_is_too_old(doctor, tmp_path):
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\necho \'{"major": 3, "minor": 8, "version": "3.8.18", "implementation": "CPython", "gil": true}\'\n'
    )
    fake.chmod(0o755)
    status, rows = doctor("--python", str(fake))
    assert status == 1 and rows["python_version"]["status"] == "fail" and "3.8.18" in rows["python_version"]["message"]
    assert "3.9" in rows["python_version"]["remedy"] and "worker" not in rows


def test_another_venv_is_active(doctor, python):
    rows = doctor(VIRTUAL_ENV="/no/such/venv")[1]
    assert rows["venv"]["status"] == ("warn" if "venv" in python else "ok")


# ---- guard and package ----


@pytest.mark.parametrize("path", ["/no/such/guard", "/bin/true"])
def test_no_guard(doctor, path):
    status, rows = doctor(SNAKEPIT_GUARD=path)
    assert status == 1 and rows["guard"]["status"] == "fail"
    assert "guard" in rows["guard"]["remedy"]


def test_a_guard_of_another_version(doctor, build, tmp_path):
    guard = tmp_path / "snakepit-guard"
    content = (build / "snakepit-guard").read_bytes()
    version = subprocess.run([build / "snakepit-guard", "--version"], capture_output=True, text=True).stdout.split()[1]
    assert content.count(f"{version}\0".encode()) == 1 or content.count(f"{version}\n".encode()) == 1
    guard.write_bytes(content.replace(version.encode(), b"7" * len(version)))
    guard.chmod(0o755)
    status, rows = doctor(SNAKEPIT_GUARD=str(guard))
    assert status == 0 and rows["guard"]["status"] == "warn"
    assert "7" * len(version) in rows["guard"]["message"] and version in rows["guard"]["message"]


def test_no_package(doctor, tmp_path):
    (tmp_path / "empty").mkdir()
    status, rows = doctor(SNAKEPIT_PYTHON_PACKAGE=str(tmp_path / "empty"))
    assert status == 1
    assert "snakepit_bridge" in "".join(row["message"] for row in rows.values() if row["status"] == "fail")


# ---- extension ----


@pytest.fixture
def package(build, tmp_path) -> pathlib.Path:
    """A copy of the package without its extension; the folder that holds it."""
    folder = tmp_path / "package"
    shutil.copytree(
        build / "python/snakepit_bridge", folder / "snakepit_bridge", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    return folder


def test_the_extension_is_switched_off(doctor):
    status, rows = doctor(SNAKEPIT_NO_EXTENSION="1")
    assert status == 0  # slower, but it works
    assert rows["extension"]["status"] == "warn" and "SNAKEPIT_NO_EXTENSION" in rows["extension"]["remedy"]
    assert rows["call"]["status"] == "ok"


def test_the_extension_is_for_another_python(doctor, package):
    (package / "snakepit_bridge/_snakepit.cpython-307-x86_64-linux-gnu.so").write_bytes(b"")
    status, rows = doctor(SNAKEPIT_PYTHON_PACKAGE=str(package))
    assert status == 0 and rows["extension"]["status"] == "warn" and rows["call"]["status"] == "ok"
    assert "none for this Python" in rows["extension"]["message"] and "cpython-307" in rows["extension"]["message"]


def test_the_extension_is_broken(doctor, package):
    extension = pathlib.Path(doctor()[1]["extension"]["message"].split(";")[0])
    (package / "snakepit_bridge" / extension.name).write_bytes(b"\x7fELF and nothing more")
    status, rows = doctor(SNAKEPIT_PYTHON_PACKAGE=str(package))
    assert status == 0 and rows["extension"]["status"] == "warn" and rows["call"]["status"] == "ok"
    assert extension.name in rows["extension"]["message"]


# ---- adapter ----


def test_an_adapter(doctor, snakepit, adapter):
    assert doctor("--adapter", adapter(ECHO))[1]["adapter"]["status"] == "ok"
    status, rows = doctor("--adapter", "nowhere.py")
    assert status == 1 and rows["adapter"]["status"] == "fail" and "nowhere.py" in rows["adapter"]["message"]
    done = snakepit("doctor", "--adapter", "nowhere.py")
    assert "fail [adapter]" in done.stdout and "remedy: " in done.stdout and "1 of" in done.stdout


# ---- the machine ----


def test_few_files_and_processes(doctor):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))

    if os.geteuid() != 0:
        pytest.skip("for others than root the limit of processes counts what runs already")
    status, rows = doctor(preexec_fn=limit)
    assert rows["files"]["status"] == "warn" and "100" in rows["files"]["message"]
    assert rows["processes"]["status"] == "warn" and "200" in rows["processes"]["message"]
    assert status == 0, rows


def test_too_few_files_to_start_a_worker(doctor):
    status, rows = doctor(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)))
    assert status == 1 and rows["files"]["status"] == "warn"
    failed = [row for row in rows.values() if row["status"] == "fail"]
    assert failed and "open files" in "".join(row["message"] for row in failed)


def test_one_cpu(doctor):
    one = {min(os.sched_getaffinity(0))}
    status, rows = doctor(preexec_fn=lambda: os.sched_setaffinity(0, one))
    assert status == 0 and rows["cpus"]["status"] == "warn"


def test_no_place_for_temporary_files(doctor):
    status, rows = doctor(TMPDIR="/proc")
    assert status == 1 and rows["worker"]["status"] == "fail" and "TMPDIR" in rows["worker"]["remedy"]


def test_an_unprivileged_user(doctor, build, python):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    seen = subprocess.run([python, "-c", f"import os; os.listdir({str(build / 'python')!r})"], capture_output=True, **nobody)
    if seen.returncode != 0:
        pytest.skip("the tree lies where others may not look")
    with tempfile.TemporaryDirectory() as own:  # not below pytest's, which is root's alone
        os.chown(own, 65534, 65534)
        status, rows = doctor(TMPDIR=own, cwd="/", HOME="/nonexistent", **nobody)
        assert os.listdir(own) == []
    assert status == 0, rows
    assert rows["privileges"]["message"].startswith("user 65534")


def test_no_shared_memory(build, env, tmp_path):
    """As in a container without /dev/shm: a warning, for the sake of others; calls work."""
    hide = 'mount -t tmpfs -o ro none /dev/shm && exec "$0" doctor -o json'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*command, "mount -t tmpfs -o ro none /dev/shm"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace of its own can be had here")
    done = subprocess.run(
        [*command, hide, build / "snakepit"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )
    rows = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0 and rows["shm"]["status"] == "warn" and rows["call"]["status"] == "ok"


def test_adapter_that_cannot_be_forked(doctor, adapter):
    before = "import threading\nthreading.Thread(target=threading.Event().wait, name='left-over', daemon=True).start()\n"
    status, rows = doctor("--adapter", adapter(ECHO, before=before))
    assert status == 0 and rows["adapter"]["status"] == "ok"
    assert rows["zygote"]["status"] == "warn" and "(thread)" in rows["zygote"]["message"]
    assert "left-over" in rows["zygote"]["message"]
    assert "by exec" in rows["zygote"]["message"] and "initialize()" in rows["zygote"]["remedy"]


def test_no_fork_without_extension(doctor):
    status, rows = doctor(SNAKEPIT_NO_EXTENSION="1")
    assert status == 0 and "(no_extension)" in rows["zygote"]["message"]
