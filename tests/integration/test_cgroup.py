"""The control group of what a host starts: made where one may be made, used, and gone with the host. Needs a delegated hierarchy of version 2."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from programs import LIMIT_S

ADAPTER = """
def hide(self, file):
    child = subprocess.Popen(["sleep", "1000"], env={}, start_new_session=True)
    with open(file + ".new", "w") as f:
        f.write(f"{os.getpid()} {child.pid}")
    os.rename(file + ".new", file)
    threading.Event().wait()

def take(self, n):
    return len(bytearray(n))

def group(self):
    with open("/proc/self/cgroup") as f:
        return [line[3:].strip() for line in f if line.startswith("0::")][0]
"""


def hierarchy() -> pathlib.Path | None:
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if " - cgroup2 " in line and fields[3] == "/":
            return pathlib.Path(fields[4])
    return None


def group_of(pid: int) -> str:
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def is_alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def of_its_own() -> bool:
    """In a namespace of its own, root needs no mark."""
    return os.stat("/proc/self/ns/cgroup").st_ino != 0xEFFFFFFB


def await_(condition):
    until = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.005)  # allow-sleep: between two looks
    return found


def remove(group: pathlib.Path) -> None:
    group.chmod(0o755)  # a test may have taken it from us
    for inner in [path for path in group.iterdir() if path.is_dir()]:
        remove(inner)
    for pid in (group / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    await_(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.fixture
def above():
    """A group as a service manager would hand it over, with a leaf `host` for the host."""
    root = hierarchy()
    if root is None:
        pytest.skip("no hierarchy of control groups of version 2 is mounted here")
    try:
        group = root / group_of(os.getpid()).lstrip("/") / f"snakepit-test-{os.getpid()}"
        group.mkdir()
    except OSError as why:
        pytest.skip(f"no control group of version 2 can be made here: {why}")
    try:
        (group / "host").mkdir()
        os.setxattr(group, "user.delegate", b"1")
    except OSError as why:
        remove(group)
        pytest.skip(f"no control group can be delegated here: {why}")
    yield group
    remove(group)


@pytest.fixture
def start(build, env, tmp_path, adapter, above):
    """Starts `snakepit call`, or another command, in the leaf, or in another one."""
    file = adapter(ADAPTER, before="import os\nimport subprocess\nimport threading")
    env = {**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data")}

    def run(*arguments: str, leaf: str = "host", command: tuple = ("call", "-a", file)) -> subprocess.Popen:
        # The shell moves itself, so that nothing of this process has to.
        script = f'echo $$ > {above}/{leaf}/cgroup.procs && exec "$@"'
        command = ["sh", "-c", script, "sh", str(build / "snakepit"), *command, *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return run


def groups(above: pathlib.Path) -> list[str]:
    return sorted(path.name for path in above.iterdir() if path.is_dir())


def test_workers_live_in_a_group_of_their_own(start, above):
    host = start("group")
    out, _ = host.communicate(timeout=LIMIT_S)
    assert host.returncode == 0
    name = out.strip().strip('"')
    assert pathlib.PurePath(name).parent.name == above.name
    assert pathlib.PurePath(name).name.startswith("snakepit-")
    assert groups(above) == ["host"]  # it has gone with the host


def test_a_group_below_the_delegated_one_will_do(start, above):
    """A service that sorts its own processes into groups of groups."""
    (above / "part" / "host").mkdir(parents=True)
    host = start("group", leaf="part/host")
    out, _ = host.communicate(timeout=LIMIT_S)
    assert host.returncode == 0
    name = pathlib.PurePath(out.strip().strip('"'))
    assert name.parent.name == "part"
    assert name.name.startswith("snakepit-")
    assert groups(above / "part") == ["host"]


def test_nothing_is_made_where_nothing_was_delegated(start, above):
    if os.geteuid() == 0 and of_its_own():
        pytest.skip("whose namespace has its own control groups may make some")
    os.removexattr(above, "user.delegate")
    if os.geteuid() != 0:
        os.chmod(above, 0o555)
    host = start("group")
    out, _ = host.communicate(timeout=LIMIT_S)
    assert host.returncode == 0
    assert pathlib.PurePath(out.strip().strip('"')).name == "host"


@pytest.mark.parametrize(("leaf", "mark", "is_made"), [("host", b"1", True), ("part/host", b"1", True), ("host", b"0", False)])
def test_the_doctor_knows_whether_a_group_is_made(start, above, leaf, mark, is_made):
    if os.geteuid() != 0:
        pytest.skip("who is not root owns the groups that it may make: there is no mark")
    (above / leaf).mkdir(parents=True, exist_ok=True)
    os.setxattr(above, "user.delegate", mark)
    doctor = start(leaf=leaf, command=("doctor",))
    out, _ = doctor.communicate(timeout=LIMIT_S)
    line = next(line for line in out.splitlines() if "[cgroup]" in line)
    assert f"{above.name}/{leaf}; " in line
    assert line.endswith("the workers get a group beside it") == (is_made or of_its_own())


def test_who_cleared_his_environment_is_found_by_the_next_host(start, above, tmp_path):
    file = tmp_path / "pids"
    host = start("hide", f'["{file}"]')
    worker, hidden = map(int, await_(lambda: file.exists() and file.read_text()).split())
    guard = int(pathlib.Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()[0])
    assert group_of(hidden) == group_of(worker) == group_of(guard) != group_of(host.pid)
    os.kill(host.pid, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    await_(lambda: not is_alive(worker))
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    assert is_alive(hidden)
    after = start("group")
    after.communicate(timeout=LIMIT_S)
    assert after.returncode == 0
    assert not is_alive(hidden)
    assert groups(above) == ["host"]


def test_who_cleared_his_environment_goes_with_a_lost_guard(start, above, tmp_path):
    file = tmp_path / "pids"
    host = start("hide", f'["{file}"]')
    _, hidden = map(int, await_(lambda: file.exists() and file.read_text()).split())
    guard = int(pathlib.Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()[0])
    os.kill(guard, signal.SIGKILL)
    await_(lambda: not is_alive(hidden))
    host.kill()
    host.communicate()


def count_memory(above: pathlib.Path, limit: int) -> None:
    """Has the group, and what is made in it, counted and limited."""
    root = hierarchy()
    if "memory" not in (root / "cgroup.controllers").read_text().split():
        pytest.skip("the memory controller is not in the hierarchy of version 2")
    try:
        for folder in reversed(above.parents):
            if folder == root or root in folder.parents:
                (folder / "cgroup.subtree_control").write_text("+memory")
        (above / "memory.max").write_text(str(limit))
        if (above / "memory.swap.max").exists():
            (above / "memory.swap.max").write_text("0")
    except OSError as why:
        pytest.skip(f"memory cannot be limited here: {why}")


def told(host: subprocess.Popen, data: pathlib.Path) -> dict:
    """The dossier in the error of the call, which says nothing else than the error, nor than the file."""
    out, said = host.communicate(timeout=LIMIT_S)
    assert host.returncode == 1, out + said
    error = json.loads(said)
    dossier = error["dossier"]
    (file,) = (data / "crashes").iterdir()
    for copy in (error["details"], json.loads(file.read_text())):
        for key in ("exit_class", "exit_code", "signal"):
            assert copy[key] == dossier[key], (key, copy)
    assert json.loads(file.read_text())["out_of_memory"] == dossier["out_of_memory"]
    return dossier


def test_a_worker_that_the_kernel_ends_for_want_of_memory_is_said_to_be(start, above, tmp_path):
    count_memory(above, 256 << 20)
    dossier = told(start("take", f"[{512 << 20}]", "-o", "json"), tmp_path / "data")
    assert (dossier["exit_class"], dossier["signal"], dossier["out_of_memory"]) == ("oom", "SIGKILL", "proved")
    assert [call["command"] for call in dossier["calls"]] == ["take"]


def test_without_a_group_of_its_own_that_is_only_suspected(start, above, tmp_path):
    if os.geteuid() == 0 and of_its_own():
        pytest.skip("whose namespace has its own control groups may make some")
    count_memory(above, 256 << 20)
    os.removexattr(above, "user.delegate")
    if os.geteuid() != 0:
        os.chmod(above, 0o555)
    dossier = told(start("take", f"[{512 << 20}]", "-o", "json"), tmp_path / "data")
    assert (dossier["exit_class"], dossier["signal"], dossier["out_of_memory"]) == ("oom_suspected", "SIGKILL", "suspected")
