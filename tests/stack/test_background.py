"""Commands in the background under a real plane: while it lives, when it dies, and when their agent does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import agentlab
from agentlab import processes

from .conftest import kill_plane, until

SERVER = "setsid sleep 1013 & echo up; sleep 1013"


def test_it_goes_on_beside_the_next_steps_and_ends_with_its_agent(lab: agentlab.Lab, work: Path) -> None:
    with lab.run("server", workdir=work) as run:
        agent = run.spawn(
            "script",
            name="ann",
            steps=[
                {"run": {"command": SERVER, "background": True, "unit": "port:8123", "writes": ["out/"]}},
                {"write": ["out/n.txt", "hello"]},
                {"run": {"command": "cat out/n.txt"}},
                {"output": {"id": "p1", "since": 0}},
            ],
        )
        begun, _, seen, looked = agent.wait(60).check().output
    assert (begun["id"], begun["running"], looked["running"], looked["text"]) == ("p1", True, True, "up\n")
    assert seen["stdout"] == "hello"
    assert processes.marked(agent.key) == []
    procs = run.procs().set_index("proc")
    assert procs.loc["p1", "status"] == "cancelled"
    assert run.locks()["released"].notna().all()


def test_it_outlives_the_plane_and_not_its_runner(lab: agentlab.Lab, home: Path, work: Path) -> None:
    run = lab.run("killed", workdir=work)
    steps = [{"run": {"command": SERVER, "background": True, "unit": "proc:test"}}, {"ask": "go on?"}, {"output": "p1"}]
    agent = run.spawn("script", name="ann", steps=steps)
    until(lambda: agent.questions, "it runs, and the agent asks")
    before = processes.marked(agent.key)
    kill_plane(home)
    until(lambda: agent.questions, "the next command finds a plane")
    assert set(before) <= set(processes.marked(agent.key))
    waiting = run.spawn("script", name="bob", claims=["proc:test"], steps=[{"say": "mine"}])
    until(lambda: waiting.status == "waiting", "the unit is still held")
    os.kill(agent.row()["pid"], signal.SIGKILL)
    assert waiting.wait(60).output == "mine"
    assert processes.marked(agent.key) == []
    run.end()


def test_it_stands_still_while_its_agent_is_paused(lab: agentlab.Lab, work: Path) -> None:
    def states() -> set[str]:
        commands = [pid for pid in processes.marked(agent.key) if pid != runner]
        return {found.state for pid in commands if (found := processes.info(pid))}

    steps = [{"run": {"command": SERVER, "background": True}}, {"ask": "go on?"}, {"output": "p1"}]
    agent = lab.spawn("script", name="ann", steps=steps, workdir=work)
    until(lambda: agent.questions, "it runs, and the agent asks")
    runner = agent.row()["pid"]
    agent.pause()
    until(lambda: states() == {"T"}, "nothing of it moves")
    agent.resume()
    until(lambda: "T" not in states() and states(), "it goes on")
    agent.pause()
    until(lambda: states() == {"T"}, "nothing of it moves")
    agent.stop()
    assert agent.wait(60).status == "cancelled"
    assert states() == set()
