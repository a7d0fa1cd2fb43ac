"""What a user does: agents on the same files, and the story of it as DataFrames."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pandas as pd
import pytest

import agentlab
from agentlab.trace.checkout import Checkout

from .conftest import until

INCREMENT = """
for _ in range({times}):
    with tools.claim("file:n.txt"):
        now = tools.read("n.txt")
        tools.patch("n.txt", f"--- n.txt\\n+++ n.txt\\n@@ -1 +1 @@\\n-{{now.strip()}}\\n+{{int(now) + 1}}\\n")
"""


def test_eight_agents_increment_one_counter_and_nothing_is_lost(lab: agentlab.Lab, work: Path) -> None:
    (work / "n.txt").write_text("0\n")
    with lab.run("contention", workdir=work) as run:
        agents = [run.spawn("python", name=f"a{i}", code=INCREMENT.format(times=200)) for i in range(8)]
    assert [agent.result.check().status for agent in agents] == ["done"] * 8  # type: ignore[union-attr]
    assert (work / "n.txt").read_text() == "1600\n"
    files = run.files()
    assert len(files) == 1600
    assert files["before"].iloc[1:].tolist() == files["after"].iloc[:-1].tolist(), (
        "each write is made from the one before"
    )
    locks = run.locks()
    assert len(locks) == 1600
    held = locks.sort_values("granted")
    assert (held["granted"].iloc[1:].to_numpy() >= held["released"].iloc[:-1].to_numpy()).all(), "one at a time"
    assert held["token"].is_monotonic_increasing


def test_the_second_agent_waits_says_for_what_and_both_changes_are_there(lab: agentlab.Lab, work: Path) -> None:
    (work / "story.txt").write_text("Once\n")
    run = lab.run("story", workdir=work)
    first = run.spawn(
        "script",
        name="first",
        claims=["file:story.txt"],
        steps=[
            {"read": "story.txt"},
            {"ask": "go on?"},
            {"edit": ["story.txt", "Once\n", "Once upon\n"]},
        ],
    )
    second = run.spawn(
        "script",
        name="second",
        claims=["file:./story.txt"],
        steps=[{"read": "story.txt"}, {"edit": ["story.txt", "upon\n", "upon a time\n"]}],
    )
    until(lambda: first.status == "blocked" and second.status == "waiting", "the second waits while the first asks")
    assert second.waits == "waits for file:story.txt · held by first · 1st"
    assert "waits for file:story.txt" in repr(second)
    locks = lab.locks()
    waiting = locks[locks["status"] == "waiting"].iloc[0]
    assert (waiting["position"], waiting["owner"]) == (1, second.key)
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    assert first.wait(60).status == "done"
    assert second.wait(60).status == "done"
    run.end()
    assert (work / "story.txt").read_text() == "Once upon a time\n"
    waited = run.locks().set_index("actor")["wait"]
    assert waited["second"] > pd.Timedelta(0)
    assert waited["first"] == pd.Timedelta(0)


def test_the_contract_of_the_script_agent(lab: agentlab.Lab, work: Path) -> None:
    (work / "a.txt").write_text("one\ntwo\n")
    (work / "b.txt").write_text("b\n")
    (work / "src").mkdir()
    diff = "--- a.txt\n+++ a.txt\n@@ -1 +1 @@\n-text\n+new text\n"
    with lab.run("refactor", workdir=work) as run:
        a = run.spawn(
            "script",
            name="a",
            claims=["file:a.txt"],
            steps=[
                {"read": "a.txt"}, {"write": ["a.txt", "text\n"]}, {"patch": ["a.txt", diff]}, {"delete": "b.txt"},
                {"run": ["python3", "-c", "print(1)"]}, {"claim": ["dir:src"], "mode": "shared"},
                {"release": ["dir:src"]}, {"sleep": 0.1}, {"say": "done"},
            ],
        )  # fmt: skip
        f = run.spawn("script", name="f", steps=[{"fail": "reason"}])
    if a.result is None or f.result is None:
        pytest.fail("the block waits for its agents")
    assert (a.result.status, a.result.output, a.result.error) == ("failed", None, a.result.error) or a.result.ok
    assert (f.result.status, f.result.error) == ("failed", "reason")


def test_everything_is_a_frame(lab: agentlab.Lab, work: Path) -> None:
    with lab.run("frames", workdir=work) as run:
        run.spawn(
            "script",
            name="a",
            steps=[
                {"write": ["x.txt", "hi\n"]}, {"run": ["python3", "-c", "print('out')"]}, {"say": "hello"},
                {"artifact": ["report", "all is well"]},
            ],
        )  # fmt: skip
    events = run.events()
    assert list(events["seq"]) == list(range(1, len(events) + 1))
    assert {"run.start", "agent.start", "tool.call", "lock.grant", "file.write", "proc.exit", "run.end"} <= set(
        events["type"]
    )
    assert run.tool_calls()["name"].tolist() == ["write", "run", "say", "artifact"]
    assert run.messages()["text"].tolist() == ["hello"]
    assert run.files()["path"].tolist() == ["x.txt"]
    assert run.procs()["code"].tolist() == [0]
    assert len(run.locks()) == 2
    assert run.usage().empty
    assert lab.runs().set_index("run_id").loc[run.run_id, "status"] == "done"
    assert lab.runtimes()["health"].tolist() == ["online"]
    empty = lab.run("nothing", workdir=work)
    for frame in ("tool_calls", "messages", "files", "procs", "locks", "usage"):
        full, none = getattr(run, frame)(), getattr(empty, frame)()
        assert full.dtypes.astype(str).tolist() == none.dtypes.astype(str).tolist(), frame
    empty.end()


def test_any_moment_can_be_seen_and_checked_out(lab: agentlab.Lab, work: Path, tmp_path: Path) -> None:
    (work / "keep.bin").write_bytes(bytes(range(256)))
    (work / "x.txt").write_text("zero\n")
    steps = [{"read": "x.txt"}, *({"write": ["x.txt", f"{i}\n"]} for i in range(5)), {"delete": "x.txt"}]
    with lab.run("past", workdir=work) as run:
        run.spawn("script", name="a", steps=steps)
    writes = run.files()
    for position, row in enumerate(writes.itertuples()):
        out = tmp_path / f"at-{row.seq}"
        done = run.checkout(int(row.seq), out)  # type: ignore[arg-type]
        assert isinstance(done, Checkout)
        text = (out / "x.txt").read_text() if (out / "x.txt").exists() else None
        assert text == (f"{position}\n" if position < 5 else None)
        assert (out / "keep.bin").read_bytes() == bytes(range(256))
    at_start = run.at(3)["tables"]["agents"]
    assert [row["status"] for row in at_start.values()] == ["queued"]
    assert run.checkout(None, tmp_path / "end").tree == lab.runs().set_index("run_id").loc[run.run_id, "final_tree"]
    with pytest.raises(agentlab.BadRequest):
        run.checkout(None, work)


async def test_a_handle_is_awaitable(lab: agentlab.Lab, work: Path) -> None:
    agents = [lab.spawn("script", steps=[{"say": str(i)}], workdir=work, name=f"a{i}") for i in range(3)]
    results = await asyncio.gather(*agents)  # type: ignore[call-overload]
    assert [result.output for result in results] == ["0", "1", "2"]


def test_a_wait_that_is_over_leaves_the_agent_alone(lab: agentlab.Lab, work: Path) -> None:
    agent = lab.spawn("script", steps=[{"ask": "?"}, {"say": "ok"}], workdir=work, name="slow")
    with pytest.raises(agentlab.AgentTimeout, match="goes on"):
        agent.wait(timeout=0.2)
    until(lambda: len(lab.approvals()) == 1)
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    assert agent.wait(60).output == "ok"


def test_turns_give_the_same_order_whatever_the_timing(lab: agentlab.Lab, work: Path) -> None:
    orders = []
    for delays in ((0.0, 0.15), (0.15, 0.0)):
        run = lab.run("turns", workdir=work, schedule="turns")
        for name, delay in zip("ab", delays, strict=True):
            steps = [
                step
                for i in range(3)
                for step in ({"sleep": delay}, {"write": [f"{name}{i}.txt", f"{delay}"], "overwrite": True})
            ]
            run.spawn("script", name=name, steps=steps)
        run.wait(60)
        run.end()
        grants = run.locks()
        orders.append(grants.sort_values("token")["actor"].astype(str).tolist())
        assert set(run.files()["actor"]) == {"a", "b"}
    assert orders[0] == orders[1] == ["a", "b"] * 3


def test_an_explicit_run_refuses_what_nobody_claimed(lab: agentlab.Lab, work: Path) -> None:
    with lab.run("explicit", workdir=work, claims="explicit") as run:
        bad = run.spawn("script", name="bad", steps=[{"write": ["x.txt", "x"]}])
        good = run.spawn("script", name="good", claims=["file:y.txt"], steps=[{"write": ["y.txt", "y"]}])
    assert bad.result is not None
    assert bad.result.status == "failed"
    assert "claim" in bad.result.error
    assert good.result is not None and good.result.ok
    assert not (work / "x.txt").exists()
