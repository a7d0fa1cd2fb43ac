"""How a plane is found, started once, and stopped: with small programs in the plane's place."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentlab import discovery
from agentlab.discovery import Plane
from agentlab.errors import BadRequest, PlaneUnavailable, Unavailable

PLANE = """
import os, signal, socket, sys, time
from pathlib import Path
from agentlab import discovery
home = Path(os.environ["AGENTLAB_HOME"])
with open(home / "starts", "a") as starts:
    starts.write(f"{os.getpid()}\\n")
with discovery.hold(home):
    if "mute" in sys.argv:
        print("reading a long log", flush=True)
        signal.pause()
    path = discovery.socket_path(home)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    (home / "environment").write_text(repr(dict(os.environ)))
    discovery.write(home, discovery.Plane.here(address=f"unix:{path}", token="sesame"))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else lambda *_: sys.exit(0))
    while True:
        signal.pause()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    if (plane := discovery.read(home)) is not None:
        os.kill(plane.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while discovery.read(home) is not None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def ensure(tmp_path: Path) -> Callable[..., Plane]:
    program = tmp_path / "plane.py"
    program.write_text(PLANE)

    def call(home: Path, *extra: str, timeout: float = 30.0) -> Plane:
        return discovery.ensure(home, command=[sys.executable, str(program), *extra], timeout=timeout)

    return call


def recorded(pid: int, started: int | None) -> Plane:
    return Plane(pid=pid, started=started or 0, address="unix:/nowhere", token="sesame")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_plane_is_found_by_its_state_file(tmp_path: Path) -> None:
    plane = Plane.here(address="unix:/x", token="sesame", http="http://127.0.0.1:1", log="/l")
    discovery.write(tmp_path, plane)
    assert discovery.read(tmp_path) == plane
    assert mode(tmp_path / "plane.json") == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["plane.json"]


def test_a_plane_whose_process_is_gone_is_not_found(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = discovery.start_time(process.pid)
    process.wait()
    discovery.write(tmp_path, recorded(process.pid, started))
    assert discovery.read(tmp_path) is None


def test_a_zombie_is_no_plane(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    discovery.write(tmp_path, recorded(process.pid, discovery.start_time(process.pid)))
    assert discovery.read(tmp_path) is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    try:
        assert discovery.read(tmp_path) is None
    finally:
        process.communicate()


def test_a_reused_pid_is_not_taken_for_the_plane(tmp_path: Path) -> None:
    started = discovery.start_time(os.getpid())
    assert started is not None
    discovery.write(tmp_path, recorded(os.getpid(), started - 1))
    assert discovery.read(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "one"}', b"\xff\xfe"])
def test_a_damaged_state_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plane.json").write_bytes(content)
    assert discovery.read(tmp_path) is None


def test_a_state_file_of_a_newer_plane_is_still_read(tmp_path: Path) -> None:
    plane = Plane.here(address="unix:/x", token="sesame")
    discovery.write(tmp_path, plane)
    facts = json.loads((tmp_path / "plane.json").read_text()) | {"protocol": 99, "a_new_field": True}
    (tmp_path / "plane.json").write_text(json.dumps(facts))
    found = discovery.read(tmp_path)
    assert found is not None and found.protocol == 99


def test_only_the_owner_takes_its_state_file_away(tmp_path: Path) -> None:
    discovery.write(tmp_path, Plane.here(address="unix:/x", token="sesame"))
    discovery.remove(tmp_path, os.getpid() + 1)
    assert discovery.read(tmp_path) is not None
    discovery.remove(tmp_path, os.getpid())
    assert not (tmp_path / "plane.json").exists()
    discovery.remove(tmp_path, os.getpid())


def test_the_admin_token_is_not_printed_with_the_plane() -> None:
    assert "sesame" not in repr(Plane.here(address="unix:/x", token="sesame"))


def test_tokens_are_long_and_never_the_same() -> None:
    assert len({discovery.new_token() for _ in range(100)}) == 100
    assert len(discovery.new_token()) >= 43


def test_the_socket_is_in_the_home_where_its_name_is_short() -> None:
    assert discovery.socket_path(Path("/srv/lab")) == Path("/srv/lab/plane.sock")


@pytest.fixture
def runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lab", dir="/tmp") as folder:  # tmp_path is too long for a socket
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_a_long_home_gets_a_socket_in_a_private_runtime_folder(runtime_folder: Path) -> None:
    long, longer = Path("/" + "h" * 150), Path("/" + "h" * 151)
    path = discovery.socket_path(long)
    assert path.is_relative_to(runtime_folder) and len(os.fsencode(path)) <= discovery.SOCKET_BYTES
    assert mode(path.parent) == 0o700
    assert path == discovery.socket_path(long) != discovery.socket_path(longer)


@pytest.mark.parametrize("trap", ["link", "file", "open to others"])
def test_a_folder_that_somebody_prepared_for_the_socket_is_refused(
    trap: str, runtime_folder: Path, tmp_path: Path
) -> None:
    long = Path("/" + "h" * 150)
    folder = discovery.socket_path(long).parent
    folder.rmdir()
    match trap:
        case "link":
            folder.symlink_to(tmp_path, target_is_directory=True)
        case "file":
            folder.write_text("")
        case _:
            folder.mkdir()
            folder.chmod(0o777)
    with pytest.raises(BadRequest, match=folder.name):
        discovery.socket_path(long)


def test_a_missing_plane_is_started_in_a_session_of_its_own(home: Path, ensure: Callable[..., Plane]) -> None:
    plane = ensure(home)
    assert discovery.answers(plane.address)
    assert os.getsid(plane.pid) == plane.pid != os.getsid(0)
    assert Path(f"/proc/{plane.pid}/cwd").readlink() == home
    assert Path(f"/proc/{plane.pid}/fd/0").readlink() == Path("/dev/null")
    assert mode(home) == mode(home / "logs") == 0o700
    assert mode(discovery.log_path(home)) == mode(home / "plane.json") == 0o600


def test_a_running_plane_is_found_not_started_again(home: Path, ensure: Callable[..., Plane]) -> None:
    assert ensure(home) == ensure(home)
    assert len((home / "starts").read_text().split()) == 1


def test_the_plane_inherits_nothing_of_the_notebook_or_the_agent_that_started_it(
    home: Path, ensure: Callable[..., Plane], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JPY_PARENT_PID", "AGENTLAB_AGENT", "MPLBACKEND", "JUPYTERHUB_API_TOKEN", "CLAUDECODE"):
        monkeypatch.setenv(name, "noise")
    monkeypatch.setenv("A_SETTING", "kept")
    ensure(home)
    environment = (home / "environment").read_text()
    assert "noise" not in environment and "'A_SETTING': 'kept'" in environment


def test_ten_clients_at_once_start_one_plane(home: Path, ensure: Callable[..., Plane]) -> None:
    with ThreadPoolExecutor(10) as pool:
        planes = set(pool.map(lambda _: ensure(home), range(10)))
    assert len(planes) == 1
    assert len((home / "starts").read_text().split()) == 1


@pytest.fixture
def client(home: Path, ensure: Callable[..., Plane], tmp_path: Path) -> list[str]:
    """A program that makes sure of a plane, prints its pid and ends."""
    code = (
        "import sys; from pathlib import Path; from agentlab import discovery; "
        f"print(discovery.ensure(Path({str(home)!r}), command=[sys.executable, {str(tmp_path / 'plane.py')!r}]).pid)"
    )
    return [sys.executable, "-W", "error", "-c", code]


def test_a_program_that_ends_before_the_plane_that_it_started_is_warned_of_nothing(
    home: Path, client: list[str]
) -> None:
    ended = subprocess.run(client, capture_output=True, text=True)
    plane = discovery.read(home)
    assert plane and (ended.stdout.strip(), ended.stderr) == (str(plane.pid), "")


def test_clients_in_other_processes_start_one_plane_too(
    home: Path, client: list[str], ensure: Callable[..., Plane]
) -> None:
    clients = [subprocess.Popen(client, stdout=subprocess.PIPE) for _ in range(4)]
    pids = {each.communicate()[0].strip() for each in clients}
    assert pids == {str(ensure(home).pid).encode()}
    assert len((home / "starts").read_text().split()) == 1


def test_a_plane_that_was_killed_is_replaced(home: Path, ensure: Callable[..., Plane]) -> None:
    first = ensure(home)
    os.kill(first.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    second = ensure(home)
    assert second.pid != first.pid and discovery.read(home) == second


def test_a_plane_that_dies_at_once_is_reported_with_its_last_words(home: Path) -> None:
    discovery.prepare(home)
    discovery.log_path(home).write_text("words of an earlier plane\n")
    with pytest.raises(PlaneUnavailable, match=r"exit code 3.*\n.*the disk is on fire") as caught:
        discovery.ensure(home, command=[sys.executable, "-c", "import sys; print('the disk is on fire'); sys.exit(3)"])
    assert "earlier" not in str(caught.value)


def test_a_plane_that_cannot_be_executed_is_reported(home: Path) -> None:
    with pytest.raises(PlaneUnavailable, match="no-such-program"):
        discovery.ensure(home, command=[str(home / "no-such-program")])


def test_a_plane_that_does_not_come_up_in_time_is_reported_and_can_be_stopped(
    home: Path, ensure: Callable[..., Plane]
) -> None:
    with pytest.raises(PlaneUnavailable, match=r"does not answer.*\n.*reading a long log"):
        ensure(home, "mute", timeout=2.0)
    with pytest.raises(PlaneUnavailable, match="does not answer"):
        ensure(home, timeout=0.2)
    pid = int((home / "starts").read_text())  # still the only one
    assert discovery.stop(home)
    assert discovery.start_time(pid) is None


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="AGENTLAB_HOME"):
        discovery.ensure(tmp_path / "file" / "home")


def test_a_second_plane_on_the_same_home_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with discovery.hold(tmp_path):
        with pytest.raises(Unavailable, match=f"pid {os.getpid()}"), discovery.hold(tmp_path):
            pass
    with discovery.hold(tmp_path):
        assert mode(tmp_path / "plane.lock") == 0o600


def test_a_client_waits_for_a_plane_that_is_just_stopping_and_then_starts_its_own(
    home: Path, ensure: Callable[..., Plane]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with discovery.hold(home):  # its state file is gone already
            waiting = pool.submit(ensure, home)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not (home / "starts").exists()
        assert discovery.answers(waiting.result(timeout=30).address)


def test_stop_ends_the_plane_and_says_that_it_was_on_purpose(home: Path, ensure: Callable[..., Plane]) -> None:
    plane = ensure(home)
    assert not discovery.stopped_on_purpose(home)
    assert discovery.stop(home)
    assert discovery.start_time(plane.pid) is None
    assert discovery.stopped_on_purpose(home)
    assert not discovery.stop(home)
    ensure(home)
    assert not discovery.stopped_on_purpose(home)


def test_stop_never_touches_a_process_that_got_the_pid_of_a_dead_plane(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        started = discovery.start_time(bystander.pid)
        assert started is not None
        discovery.write(tmp_path, recorded(bystander.pid, started - 1))
        assert not discovery.stop(tmp_path)
        assert bystander.poll() is None
    finally:
        bystander.communicate()


def test_a_plane_that_does_not_stop_is_killed_only_by_force(home: Path, ensure: Callable[..., Plane]) -> None:
    plane = ensure(home, "stubborn")
    with pytest.raises(Unavailable, match=str(plane.pid)):
        discovery.stop(home, timeout=0.2)
    assert discovery.read(home) == plane
    assert discovery.stop(home, timeout=0.2, force=True)
    assert discovery.read(home) is None
