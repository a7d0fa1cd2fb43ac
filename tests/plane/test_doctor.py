"""What the doctor finds, and that each finding says what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab import discovery
from agentlab.config import Config
from agentlab.core.commands import CLI
from agentlab.plane import doctor, logins
from agentlab.plane.doctor import Check, diagnose
from agentlab.store import schema
from agentlab.testing.runtime import FakeRuntime


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    discovery.prepare(home)
    return home


@pytest.fixture
def log(home: Path) -> Path:
    path = home / "agentlab.db"
    db = sqlite3.connect(path)
    schema.migrate(db)
    db.executemany("INSERT INTO meta VALUES(?, ?)", [(f"key {n}", "x" * 500) for n in range(200)])
    db.commit()
    db.close()
    return path


@pytest.fixture
def listener(home: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        path = discovery.socket_path(home)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        yield listener


async def test_a_fresh_home_has_one_line_for_each_thing(home: Path) -> None:
    found = await diagnose(home, Config(), FakeRuntime())
    assert [check.name for check in found] == [
        "home",
        "database",
        "disk",
        "plane",
        "runtime fake",
        "program claude",
        "login claude",
        "claude extra",
        "agents extra",
        "sandbox",
        "bubblewrap",
        "Landlock",
        "cgroup v2",
        "Docker",
        "Kubernetes",
    ]
    assert not [check for check in found if check.verdict == "fail"]
    for check in found:
        assert check.detail
        assert check.verdict == "ok" or check.fix


async def test_a_check_that_breaks_is_a_failed_check_beside_the_others(home: Path) -> None:
    class Broken(FakeRuntime):
        async def health(self) -> str:
            raise RuntimeError("no pulse")

        async def detect(self) -> tuple[CLI, ...]:
            raise RuntimeError("no eyes")

    found = {check.name: check for check in await diagnose(home, Config(), Broken())}
    assert found["runtime fake"].verdict == found["programs"].verdict == "fail"
    assert "no pulse" in found["runtime fake"].detail and "no eyes" in found["programs"].detail
    assert found["disk"].verdict == "ok"


async def test_a_sick_runtime_and_a_missing_program_are_told(home: Path) -> None:
    missing = CLI(name="codex", verdict="missing", reason="Not found. Install it: `npm install -g @openai/codex`.")
    runtime = FakeRuntime(sickness="The disk is full: free some room.", clis=(missing,))
    found = {check.name: check for check in await diagnose(home, Config(), runtime)}
    assert (found["runtime fake"].verdict, found["runtime fake"].detail) == ("fail", runtime.sickness)
    assert found["program codex"].verdict == "warn" and "npm install" in found["program codex"].detail


def test_a_login_is_found_without_asking_anybody(tmp_path: Path) -> None:
    assert logins.found("codex", {}, tmp_path) == ""
    assert logins.found("codex", {"OPENAI_API_KEY": "sk-x"}, tmp_path) == "a key in OPENAI_API_KEY"
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").write_text("{}")
    assert logins.found("codex", {}, tmp_path) == "", "nobody is logged in"
    (tmp_path / ".codex" / "auth.json").write_text('{"tokens": {}}')
    assert logins.found("codex", {}, tmp_path) == f"a log-in in {tmp_path}/.codex/auth.json"
    assert logins.found("codex", {"CODEX_HOME": str(tmp_path / "other")}, tmp_path) == ""


def test_who_has_no_login_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in logins.LOGINS["gemini"].keys:
        monkeypatch.delenv(name, raising=False)
    there = CLI(name="gemini", verdict="ok", version="0.61.0", path="/bin/gemini")
    (check,) = doctor.login(there)
    assert check.verdict == "warn" and "GEMINI_API_KEY" in check.fix
    assert doctor.login(CLI(name="gemini", verdict="missing")) == [], "first of all it has to be there"


async def test_profiles_have_a_line_each_and_one_without_its_program_says_so(home: Path) -> None:
    (home / "config.toml").write_text(
        '[agents.mine]\nkind = "acp"\ncommand = ["no-such-agent", "--acp"]\n[agents.sh]\nkind = "cli"\ncommand = ["sh"]\n'
    )
    found = {check.name: check for check in await diagnose(home, Config(), FakeRuntime())}
    assert found["profile mine"].verdict == "warn" and "no-such-agent" in found["profile mine"].detail
    assert found["profile sh"].verdict == "ok" and "/sh." in found["profile sh"].detail


def test_a_missing_home_fails(tmp_path: Path) -> None:
    check = doctor.home_folder(tmp_path / "missing")
    assert check.verdict == "fail" and "AGENTLAB_HOME" in check.fix


@pytest.mark.parametrize("loose", [".", "secret"])
def test_a_home_that_others_can_read_is_a_risk(home: Path, loose: str) -> None:
    (home / "secret").touch(mode=0o600)
    assert doctor.home_folder(home).verdict == "ok"
    (home / loose).chmod(0o755)
    check = doctor.home_folder(home)
    assert check.verdict == "warn" and "chmod" in check.fix


def test_a_sound_log_is_checked_with_its_size(log: Path) -> None:
    check = doctor.database(log)
    assert check.verdict == "ok" and "MB" in check.detail


def test_a_log_is_checked_beside_a_writer_and_nothing_is_written(log: Path) -> None:
    writer = sqlite3.connect(log, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM meta")
    try:
        assert doctor.database(log).verdict == "ok"
    finally:
        writer.execute("ROLLBACK")
        writer.close()


def test_a_damaged_log_fails(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = os.urandom(8192)
    log.write_bytes(data)
    check = doctor.database(log)
    assert check.verdict == "fail" and "damaged" in check.detail and check.fix


def test_a_file_that_is_no_database_fails(log: Path) -> None:
    log.write_text("not a database at all, but long enough to look like one " * 40)
    assert doctor.database(log).verdict == "fail"


def test_a_log_of_a_newer_agentlab_fails(log: Path) -> None:
    db = sqlite3.connect(log)
    db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    check = doctor.database(log)
    assert check.verdict == "fail" and "newer" in check.detail


def test_a_log_that_takes_too_long_is_said_to_be_unchecked(log: Path) -> None:
    db = sqlite3.connect(log)
    db.executemany("INSERT INTO meta VALUES(?, ?)", [(f"more {n}", "x") for n in range(20_000)])
    db.commit()
    db.close()
    check = doctor.database(log, patience=-1.0)
    assert check.verdict == "warn" and "too large" in check.detail


def test_a_running_plane_is_shown_without_its_token(home: Path, listener: socket.socket) -> None:
    discovery.write(home, discovery.Plane.here(address=f"unix:{listener.getsockname()}", token="sesame"))
    check = doctor.plane(home)
    assert check.verdict == "ok" and str(os.getpid()) in check.detail and "sesame" not in check.detail


def test_a_plane_whose_socket_is_dead_fails(home: Path) -> None:
    discovery.write(home, discovery.Plane.here(address=f"unix:{home}/nobody.sock", token="sesame"))
    check = doctor.plane(home)
    assert check.verdict == "fail" and "nobody answers" in check.detail


def test_a_plane_of_another_version_is_told(home: Path, listener: socket.socket) -> None:
    plane = discovery.Plane(
        pid=os.getpid(),
        started=discovery.start_time(os.getpid()) or 0,
        address=f"unix:{listener.getsockname()}",
        token="sesame",
        version="99.0.0",
    )
    discovery.write(home, plane)
    check = doctor.plane(home)
    assert check.verdict == "warn" and "99.0.0" in check.detail and "agentlab daemon stop" in check.fix


def test_a_plane_that_crashed_is_told_from_none(home: Path) -> None:
    discovery.write(home, discovery.Plane(pid=2**22 + 1, started=1, address="unix:/x", token="sesame"))
    assert "stale" in doctor.plane(home).detail


def test_the_sandbox_that_holds_is_told_and_one_that_cannot_be_had_fails(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.setattr("agentlab.sandbox.landlock.probe", lambda network=True: 7)
    assert doctor.sandbox(home).detail.startswith("landlock: ")
    settings = home / "config.toml"
    settings.write_text("[sandbox]\nnetwork = false\n")
    assert "no network" in doctor.sandbox(home).detail
    settings.write_text('[sandbox]\nnetwork = "model"\n')
    held = doctor.sandbox(home)
    assert (held.verdict, held.fix) == ("warn", "apt-get install bubblewrap")
    assert "Agents with boundary native fail" in held.detail
    settings.write_text('[sandbox]\nmode = "bubblewrap"\n')
    assert doctor.sandbox(home).verdict == "fail"
    settings.write_text('[sandbox]\nmode = "none"\n')
    off = doctor.sandbox(home)
    assert off.verdict == "warn" and "switched off" in off.detail and off.fix


def test_landlock_says_what_this_kernel_lacks(home: Path, monkeypatch) -> None:
    monkeypatch.setattr("agentlab.plane.doctor.probe_landlock", lambda network: 5)
    assert "can signal" in doctor.landlock(home).detail
    monkeypatch.undo()
    monkeypatch.setattr("agentlab.sandbox.landlock.launcher.version", lambda: 1)
    check = doctor.landlock(home)
    assert check.verdict == "warn" and "truncated" in check.detail and "6.2" in check.fix


def test_a_cgroup_that_cannot_be_written_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(f"30 23 0:26 / {tmp_path}/cg rw,nosuid - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup").write_text("4:memory:/x\n0::/user.slice\n")
    assert doctor.cgroup(tmp_path).verdict == "warn"
    (tmp_path / "cg" / "user.slice").mkdir(parents=True)
    assert doctor.cgroup(tmp_path).verdict == "ok"
    (tmp_path / "cgroup").write_text("4:memory:/x\n")
    assert doctor.cgroup(tmp_path).verdict == "warn"


@pytest.mark.parametrize(
    ("answer", "verdict"), [(b"HTTP/1.0 200 OK\r\n\r\nOK", "ok"), (b"HTTP/1.0 403 No\r\n\r\n", "warn")]
)
async def test_docker_is_asked_at_its_socket(
    listener: socket.socket, answer: bytes, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listener.getsockname()}")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    check: Check = await asyncio.to_thread(doctor.docker)
    server.join()
    assert check.verdict == verdict


def test_a_docker_elsewhere_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert doctor.docker().verdict == "ok"
