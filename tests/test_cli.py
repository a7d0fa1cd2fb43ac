"""The command line over the real stack: a plane, runners and agents in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from agentlab import cli, discovery

AGENT_FIELDS = {
    "run_id", "agent", "name", "kind", "status", "doing", "waits", "holds", "reason", "role", "model", "priority", "boundary",
    "task_id", "runtime", "pid", "queued_at", "queued_at_ns", "started", "started_ns", "ended", "ended_ns", "tok_in", "tok_out",
    "tok_cache", "cost", "output", "error", "exit_code", "vendor_session", "usage", "waiting", "sandbox",
    "resets", "resets_ns",
}  # fmt: skip


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("cli") / "home"
    yield home
    discovery.stop(home, force=True)


@pytest.fixture
def workspace(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTLAB_HOME", str(home))
    monkeypatch.delenv("AGENTLAB_URL", raising=False)
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def agentlab(workspace: Path, capsys: pytest.CaptureFixture) -> Callable[..., Ran]:
    def run(*argv: str) -> Ran:
        code = cli.run(list(argv))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def test_a_script_is_spawned_waited_for_and_told_as_json(agentlab, workspace: Path) -> None:
    (workspace / "steps.yaml").write_text("- write: [a.txt, hello]\n- run: [echo, hi]\n- say: done\n")
    ran = agentlab("spawn", "script", "--file", "steps.yaml", "--workdir", ".", "--name", "a", "--wait", "--json")
    assert ran.code == 0, ran
    assert set(ran.json) == AGENT_FIELDS
    assert (ran.json["name"], ran.json["status"], ran.json["output"]) == ("a", "done", "done")
    assert ran.json["ended"].endswith("Z") and isinstance(ran.json["ended_ns"], int)
    assert (workspace / "a.txt").read_text() == "hello"
    logs = agentlab("logs", "a")
    assert "$ echo hi" in logs.out and "assistant: done" in logs.out
    follow = agentlab("logs", "-f", "a", "--json")
    assert json.loads(follow.out.splitlines()[-1])["line"].endswith("done")


def test_a_failed_agent_is_exit_code_1(agentlab) -> None:
    ran = agentlab("spawn", "script", '[{"fail": "no luck"}]', "--name", "unlucky", "--wait", "--json")
    assert (ran.code, ran.json["status"]) == (1, "failed")
    assert "no luck" in ran.json["error"]
    waited = agentlab("wait", "unlucky", "--json")
    assert waited.code == 1 and waited.json[0]["status"] == "failed"


def test_the_daemon_is_also_called_what_everything_else_calls_it(agentlab) -> None:
    assert agentlab("plane", "status").out == agentlab("daemon", "status").out != ""


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["spwan"], "no command 'spwan'"),
        (["spawn", "script", "[]", "--bogus"], "no option --bogus"),
        (["spawn", "script", "- read: a.txt"], "A task that begins with '-' stands behind `--`, as the last thing."),
        (["spawn", "cursor", "x"], "no agents of kind 'cursor'"),
        (["spawn", "script", "--workdir", "/no/such", "[]"], "does not exist"),
        (["spawn", "script", "--file", "missing.yaml"], "cannot be read from missing.yaml"),
        (["spawn", "script", '[{"fly": 1}]', "--claim", "nonsense"], "no work unit"),
        (["spawn", "script", '[{"say": 1}]', "--env", "A=env:NOT_SET_HERE"], "'NOT_SET_HERE' is not set"),
        (["logs", "nobody"], "no agent 'nobody'"),
        (["approve", "nothing"], "no question 'nothing'. `agentlab approvals` lists"),
        (["events", "nothing"], "no run 'nothing'"),
        (["--url", "ftp://x", "ps"], "no address of a plane"),
        (["daemon", "begin"], "no command 'begin'"),
    ],
)
def test_bad_input_is_exit_code_2_and_a_text(agentlab, argv: list[str], says: str) -> None:
    ran = agentlab(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err and "Traceback" not in ran.err
    told = agentlab(*argv, "--json")
    assert told.code == 2 and says in json.loads(told.err)["message"]


def test_lists_are_tables_for_people_and_json_for_programs(agentlab) -> None:
    agentlab("spawn", "script", '[{"say": "hi"}]', "--name", "listed", "--run", "lists", "--wait")
    assert "listed" in agentlab("ps", "--all").out
    rows = agentlab("ps", "--all", "--run", "lists", "--json").json
    assert [row["name"] for row in rows] == ["listed"] and set(rows[0]) == AGENT_FIELDS
    runs = agentlab("runs", "--json").json
    assert {"run_id", "name", "status", "started", "started_ns", "n_events"} <= set(runs[-1])
    assert "lists" in {row["name"] for row in runs}
    assert "plane" not in {row["name"] for row in runs}
    assert agentlab("locks", "--json").json == []
    (runtime,) = agentlab("runtimes", "--json").json
    assert runtime["health"] == "online" and "script" in runtime["kinds"]
    assert {"client", "plane"} <= {row["check"] for row in agentlab("doctor", "--json").json}


def test_the_log_of_a_run_is_a_table_json_or_parquet(agentlab, workspace: Path) -> None:
    agentlab("spawn", "script", '[{"say": "hi"}]', "--name", "logged", "--wait")
    assert "agent.end" in agentlab("events", "logged").out
    events = agentlab("events", "logged", "--json").json
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["payload"]["type"] == "run.start" and events[0]["ts"].endswith("Z")
    only = agentlab("events", "logged", "--type", "agent.end", "--json").json
    assert [event["type"] for event in only] == ["agent.end"]
    ran = agentlab("events", "logged", "--parquet", "out.parquet", "--json")
    assert ran.json["events"] == len(events) == len(pd.read_parquet(workspace / "out.parquet"))


def test_a_claim_from_the_shell_holds_agents_off_until_it_is_released(agentlab, workspace: Path) -> None:
    held = agentlab("claim", "file:a.txt", "--ttl", "60", "--json").json
    agentlab("spawn", "script", '[{"write": ["a.txt", "x"]}]', "--name", "waiter")
    rows: list = []
    while not rows:  # the runner comes up in its own time; the test's timeout is the deadline
        rows = [row for row in agentlab("ps", "--json").json if row["name"] == "waiter" and row["waiting"]]
    assert rows[0]["waits"].startswith("waits for file:a.txt · held by user:")
    (waiting,) = [row for row in agentlab("locks", "--json").json if row["status"] == "waiting"]
    assert waiting["units"] == ["file:a.txt"] and waiting["blockers"][0]["ticket"] == held["ticket"]
    agentlab("release", str(held["ticket"]))
    assert agentlab("wait", "waiter", "--timeout", "60").code == 0
    assert (workspace / "a.txt").read_text() == "x"


def test_a_wait_that_times_out_is_exit_code_124(agentlab) -> None:
    agentlab("spawn", "script", '[{"sleep": 600}]', "--name", "sleeper")
    assert agentlab("wait", "sleeper", "--timeout", "0.05").code == 124
    assert agentlab("stop", "sleeper", "--now").code == 0
    assert agentlab("wait", "sleeper", "--timeout", "60").code == 1


def test_what_agents_say_cannot_drive_the_terminal(agentlab) -> None:
    evil = "\x1b]0;owned\x07\x1b[31mred\u202e"
    agentlab("spawn", "script", json.dumps([{"say": evil}]), "--name", "evil", "--wait")
    for argv in (
        ["logs", "evil"],
        ["ps", "--all"],
        ["ps", "--all", "--json"],
        ["events", "evil"],
        ["logs", "evil", "-f"],
    ):
        out = agentlab(*argv).out
        assert "\x1b" not in out and "\u202e" not in out and "\x07" not in out


def test_the_daemon_is_started_told_of_and_stopped(agentlab, home: Path) -> None:
    started = agentlab("daemon", "start", "--json").json
    status = agentlab("daemon", "status", "--json").json
    assert (status["running"], status["pid"], status["answers"]) == (True, started["pid"], True)
    assert "token" not in status
    assert agentlab("daemon", "stop").code == 0
    assert agentlab("daemon", "status", "--json").json["running"] is False
    assert "stopping; agents go on" in agentlab("daemon", "logs").out
    assert agentlab("daemon", "stop", "--json").json == {"running": False, "stopped": False}


def test_an_interrupted_wait_is_exit_code_130_and_the_agent_goes_on(agentlab) -> None:
    agentlab("spawn", "script", '[{"sleep": 600}]', "--name", "sleeper")
    code = "import sys; from agentlab.cli import main; print('ready', flush=True); main(['wait', 'sleeper'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as waiting:
        assert waiting.stdout.readline() == "ready\n"
        _until_it_waits()
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (130, "Interrupted; agents go on.\n")
    assert [row["status"] for row in agentlab("ps", "--json").json if row["name"] == "sleeper"] == ["running"]
    agentlab("stop", "sleeper", "--now")
    agentlab("wait", "sleeper")


def _until_it_waits() -> None:
    """The plane counts its clients: the test's own is gone, so the only one is the process that waits."""
    import time

    from agentlab.client import connect
    from agentlab.link.messages import Admin, View

    deadline = time.monotonic() + 60
    with connect() as lab:
        while lab._ask(Admin(verb="status"), View).data["clients"] < 3:  # the runner, this lab, and it
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_version_and_help_need_no_plane(agentlab, home: Path) -> None:
    assert agentlab("--version").out.startswith("agentlab ")
    assert "spawn" in agentlab().out
    assert "--claim" in agentlab("spawn", "--help").out
