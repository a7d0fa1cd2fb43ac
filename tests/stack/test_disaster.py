"""Bad days: planes, runners and kernels die, and nothing is lost, granted twice, or left running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentlab
from agentlab import discovery, processes
from agentlab.sandbox import probe_landlock

from .conftest import kill_plane, of_home, plane_pid, until

COUNT = """
for _ in range(60):
    with tools.claim("file:n.txt"):
        tools.write("n.txt", str(int(tools.read("n.txt")) + 1))
"""


def test_killing_the_plane_in_the_middle_loses_nothing(lab: agentlab.Lab, home: Path, work: Path) -> None:
    (work / "n.txt").write_text("0")
    run = lab.run("killed", workdir=work)
    agents = [run.spawn("python", name=f"a{i}", code=COUNT) for i in range(3)]
    for target in (30, 90):
        until(lambda target=target: int((work / "n.txt").read_text() or 0) >= target, "the agents are at work")
        kill_plane(home)
        assert lab.agents()["name"].tolist() == ["a0", "a1", "a2"], "the next command finds a plane"
    assert [agent.wait(120).status for agent in agents] == ["done"] * 3
    run.end()
    assert (work / "n.txt").read_text() == "180"
    events = run.events()
    assert events["seq"].tolist() == list(range(1, len(events) + 1))
    files = run.files()
    assert len(files) == 180
    assert files["before"].iloc[1:].tolist() == files["after"].iloc[:-1].tolist()
    calls = run.tool_calls()
    assert (calls["status"] == "ok").all()
    grants = run.locks().sort_values("token")
    assert grants["token"].is_unique
    assert (grants["granted"].iloc[1:].to_numpy() >= grants["released"].iloc[:-1].to_numpy()).all()


def test_agents_finish_without_any_client_to_start_the_plane_again(lab: agentlab.Lab, home: Path, work: Path) -> None:
    (work / "n.txt").write_text("0")
    agent = lab.spawn("python", name="alone", code=COUNT, workdir=work)
    until(lambda: int((work / "n.txt").read_text() or 0) >= 10)
    lab.close()
    kill_plane(home)
    until(lambda: (work / "n.txt").read_text() == "60", "the runner found or started a plane")
    again = agentlab.connect(home)
    assert again.agent(agent.key).wait(60).status == "done"
    again.close()


def test_a_killed_runner_takes_its_processes_with_it_and_frees_its_locks(lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("killed", workdir=work)
    daemon = (
        "import os, subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
        "print('up', flush=True); import time; time.sleep(600)"
    )
    holder = run.spawn("script", name="holder", claims=["file:x.txt"], steps=[{"run": ["python3", "-c", daemon]}])
    waiter = run.spawn("script", name="waiter", claims=["file:x.txt"], steps=[{"say": "mine"}])
    until(lambda: waiter.status == "waiting" and "up" in str(holder.logs()), "the holder's process is up")
    tree = processes.tree(holder.row()["pid"])
    assert len(tree) >= 3
    identities = [processes.identity(pid) for pid in tree if processes.info(pid)]
    os.kill(holder.row()["pid"], signal.SIGKILL)
    assert waiter.wait(60).output == "mine"
    result = holder.wait(60)
    assert result.status == "failed"
    assert "signal 9" in result.error
    until(lambda: not any(processes.alive(identity) for identity in identities), "nothing of it is left")
    run.end()
    ends = run.events(types=["agent.end"]).set_index("actor")["status"]
    assert ends["holder"] == "failed"


@pytest.mark.parametrize("mode", ["landlock", "none"])
def test_what_has_thrown_away_its_mark_and_its_session_ends_with_its_command(home: Path, work: Path, mode: str) -> None:
    home.mkdir(parents=True, mode=0o700)
    (home / "config.toml").write_text(f'[sandbox]\nmode = "{mode}"\n')
    if mode == "landlock":
        try:
            probe_landlock()
        except agentlab.Unavailable as why:
            pytest.skip(str(why))
    name = f"{1_000_000 + os.getpid()}"
    hide = f"mkfifo up; env -i setsid setsid sh -c 'echo > up; exec sleep {name}' > /dev/null 2>&1 & cat up"
    serve = f"setsid setsid sleep {name}7 & exec sleep 1000"
    lab = agentlab.connect(home)
    with lab.run("hidden", workdir=work) as run:
        server = {"run": {"command": serve, "background": True}}
        ann = run.spawn(
            "script", name="ann", steps=[server, {"run": {"command": hide, "writes": ["./"]}}, {"ask": "go on?"}]
        )
        until(lambda: ann.questions, "its command is over")
        assert [argv for argv in commands() if argv[-1].startswith(name)] == [["sleep", f"{name}7"]]
        assert ann.row()["status"] != "failed"
        ann.stop(now=True)
        until(
            lambda: not [argv for argv in commands() if argv[-1].startswith(name)],
            "the end of what it had in the background",
        )
    lab.close()


def commands() -> list[list[str]]:
    """The argv of all processes."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (said := (entry / "cmdline").read_text(errors="replace")):
                found.append(said.rstrip("\0").split("\0"))
    return found


def test_stop_now_leaves_nothing_behind(lab: agentlab.Lab, home: Path, work: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    agent = lab.spawn("script", name="s", steps=[{"run": ["python3", "-c", stubborn]}], workdir=work)
    until(lambda: "up" in str(agent.logs()))
    agent.stop(now=True)
    assert agent.wait(60).status == "cancelled"
    until(lambda: set(of_home(home)) <= {plane_pid(home)}, "only the plane is left")


def test_pause_freezes_and_resume_goes_on(lab: agentlab.Lab, work: Path) -> None:
    code = 'import time\nn = 0\nwhile not tools.list(pattern="stop"):\n    n += 1\n    print(n, flush=True)\n    time.sleep(0.01)\n'
    agent = lab.spawn("python", name="p", code=code, workdir=work)
    until(lambda: "3" in str(agent.logs()))
    agent.pause()
    assert agent.status == "paused"
    child = processes.tree(agent.row()["pid"])[1:]
    until(lambda: all(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T" for pid in child))
    agent.resume()
    (work / "stop").touch()
    assert agent.wait(60).status == "done"


def test_a_message_reaches_an_agent_that_stays(lab: agentlab.Lab, work: Path) -> None:
    agent = lab.spawn("python", name="k", code="result = 1", workdir=work, keep=True)
    until(lambda: agent.status == "idle")
    agent.send("tools.write('later.txt', 'x')\nresult = 2")
    until(lambda: (work / "later.txt").exists() and agent.status == "idle")
    agent.stop()
    assert agent.wait(60).status == "cancelled"


def test_a_new_kernel_finds_its_agents_again(home: Path, work: Path) -> None:
    script = (
        "import agentlab, sys; lab = agentlab.connect(sys.argv[1]); "
        "a = lab.spawn('script', name='a', steps=[{'ask': 'more?'}, {'say': 'end'}], workdir=sys.argv[2]); print(a.key)"
    )
    first = subprocess.run(
        [sys.executable, "-c", script, str(home), str(work)], check=True, capture_output=True, text=True, timeout=60
    )
    lab = agentlab.connect(home)
    agent = lab.agent("a")
    assert agent.key == first.stdout.strip()
    until(lambda: agent.status == "blocked")
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    assert agent.wait(60).output == "end"
    lab.close()


def test_many_clients_at_once_start_one_plane(home: Path) -> None:
    labs: list[agentlab.Lab] = []
    threads = [threading.Thread(target=lambda: labs.append(agentlab.connect(home))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(labs) == 6
    assert len(of_home(home)) == 1
    for lab in labs:
        lab.close()


def test_a_second_plane_on_the_same_home_is_refused_and_named(lab: agentlab.Lab, home: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "agentlab.plane", "--home", str(home)], capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert str(plane_pid(home)) in second.stderr


@pytest.mark.parametrize("damage", ["newer", "garbage"])
def test_a_database_that_cannot_be_trusted_is_said_and_left_alone(home: Path, damage: str) -> None:
    import sqlite3

    lab = agentlab.connect(home)
    lab.close()
    discovery.stop(home)
    database = home / "agentlab.db"
    if damage == "newer":
        with sqlite3.connect(database) as db:
            db.execute("PRAGMA user_version = 999")
        db.close()
    else:
        database.write_bytes(b"this is no database" * 100)
    before = database.read_bytes()
    with pytest.raises(agentlab.PlaneUnavailable, match=r"999|newer|database"):
        agentlab.connect(home)
    assert database.read_bytes() == before


def test_stale_state_and_dead_sockets_are_no_obstacle(home: Path, work: Path) -> None:
    lab = agentlab.connect(home)
    kill_plane(home)
    assert (home / "plane.json").exists(), "a killed plane leaves its state file"
    assert lab.spawn("script", steps=[{"say": "hi"}], workdir=work).wait(60).output == "hi"
    lab.close()


def test_a_client_of_another_version_is_told_which_is_which(lab: agentlab.Lab, home: Path) -> None:
    import asyncio

    from agentlab.link.client import LinkClient
    from agentlab.link.messages import Hello

    plane = discovery.read(home)
    assert plane is not None
    with pytest.raises(agentlab.VersionMismatch, match="daemon stop"):
        asyncio.run(LinkClient.connect(plane.address, Hello(token=plane.token, protocol=999, version="9.9")))


def test_a_plane_that_was_stopped_on_purpose_leaves_agents_running(lab: agentlab.Lab, home: Path, work: Path) -> None:
    (work / "n.txt").write_text("0")
    agent = lab.spawn("python", name="a", code=COUNT, workdir=work)
    until(lambda: int((work / "n.txt").read_text() or 0) >= 5)
    discovery.stop(home)
    assert agent.wait(60).status == "done"
    assert (work / "n.txt").read_text() == "60"


def test_what_is_kept_is_private(lab: agentlab.Lab, home: Path, work: Path) -> None:
    lab.spawn("script", steps=[{"write": ["x", "y"]}], workdir=work).wait(60)
    for path in [home, *home.rglob("*")]:
        mode = path.lstat().st_mode & 0o777
        assert mode & 0o077 == 0 or (path.is_socket() and mode & 0o077 == 0), f"{path} is {mode:o}"


def test_a_holder_that_slept_past_its_lease_cannot_write_over_its_successor(lab: agentlab.Lab, work: Path) -> None:
    (work / "x.txt").write_text("first\n")
    run = lab.run("asleep", workdir=work)
    code = """
with tools.claim("file:x.txt"):
    text = tools.read("x.txt")
    tools.ask("write?")
    tools.write("x.txt", text + "late\\n")
"""
    sleeper = run.spawn("python", name="sleeper", code=code, ttl=1.0)
    until(lambda: sleeper.status == "blocked", "it holds the file and asks")
    tree = processes.tree(sleeper.row()["pid"])
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    try:
        steps = [{"claim": ["file:x.txt"]}, {"read": "x.txt"}, {"write": ["x.txt", "second\n"]}]
        assert run.spawn("script", name="next", steps=steps).wait(60).status == "done", "its lease has ended"
        lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    finally:
        for pid in tree:
            os.kill(pid, signal.SIGCONT)
    result = sleeper.wait(60)
    assert result.status == "failed"
    assert (work / "x.txt").read_text() == "second\n"
    assert (run.locks()["status"] == "expired").sum() == 1
    run.end()


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A disk of 16 MB under the home."""
    home.parent.mkdir(parents=True, exist_ok=True)
    disk = home.parent / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    discovery.stop(disk / "home", force=True)
    until(lambda: not of_home(disk / "home"))
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_granting_says_so_and_is_recovered_from(small_disk: Path, work: Path) -> None:
    lab = agentlab.connect(small_disk / "home")
    run = lab.run("full", workdir=work)
    assert run.spawn("script", steps=[{"say": "before"}]).wait(60).ok
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    with pytest.raises(agentlab.Unavailable, match=r"full|cannot be written|not known"):
        _spawn_many(run)
    ballast.unlink()
    until(lambda: _works(run))
    events = run.events()
    assert events["seq"].tolist() == list(range(1, len(events) + 1)), "no hole, nothing twice"
    run.end(stop=True)
    lab.close()


def _spawn_many(run: agentlab.Run) -> None:
    for number in range(2000):  # there is room for some in the last pages of the log
        run.spawn("script", name=f"never-{number}", steps=[{"ask": "x" * 2000}])


def _works(run: agentlab.Run) -> bool:
    try:
        return run.spawn("script", steps=[{"say": "after"}]).wait(60).ok
    except agentlab.Unavailable:
        return False
