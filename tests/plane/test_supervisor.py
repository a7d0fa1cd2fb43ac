"""From queued to running, and what is left when a runner dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentlab.core import commands as c
from agentlab.core.events import Message, Priority
from agentlab.errors import Forbidden, NotFound, Refused, Unavailable
from agentlab.link import messages as m
from agentlab.link.client import LinkClient, hello
from agentlab.link.journal import Journal, path_of

from .conftest import Lab, until

Open = Callable[[], Awaitable[Lab]]


async def test_a_spawned_agent_is_started_with_a_token_of_its_own(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a", secrets={"KEY": "s3cret"}, env={"KEY": "env:KEY"})
    await until(lambda: agent in lab.runtime.runners)
    launch = lab.runtime.runners[agent].launch
    assert launch.secrets == {"KEY": "s3cret"}
    runner = await LinkClient.connect(launch.address, hello(launch.token, "runner"))
    hired = await runner.request(c.Ready(agent=agent))
    assert isinstance(hired, c.Hired)
    assert (hired.root, hired.agent_id, lab.status(agent)) == (str(lab.root), "a", "running")
    await runner.close()


async def test_secrets_are_nowhere_in_the_home(lab: Lab) -> None:
    await lab.run()
    await lab.spawn("a", secrets={"KEY": "s3cret-value"}, env={"KEY": "env:KEY"})
    await until(lambda: lab.runtime.runners)
    for path in lab.plane.home.rglob("*"):
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes(), path


async def test_more_agents_than_slots_wait_and_the_important_ones_go_first(lab: Lab) -> None:
    lab.runtime.slots = 1
    await until(lambda: lab.plane.engine.state.runtimes)
    await lab.client.request(
        c.RegisterRuntime(runtime_id="fake", kind="fake", host="nowhere", slots=1, kinds=("script",))
    )
    await lab.run()
    first = await lab.spawn("first")
    await until(lambda: first in lab.runtime.runners)
    low = await lab.spawn("low", priority=Priority.BACKGROUND)
    high = await lab.spawn("high", priority=Priority.OPERATOR)
    assert lab.status(low) == lab.status(high) == "queued"
    runner = await lab.runner(first)
    await runner.request(c.Finish(agent=first, status="done"))
    lab.runtime.end(first)
    await until(lambda: high in lab.runtime.runners)
    assert low not in lab.runtime.runners


async def test_a_killed_runner_frees_its_locks_and_the_run_says_why(lab: Lab) -> None:
    await lab.run()
    a, b = await lab.spawn("a"), await lab.spawn("b")
    ra, rb = await lab.runner(a), await lab.runner(b)
    await ra.request(c.Claim(owner=a, units=("file:x",), run_id="r1"))
    queued = await rb.request(c.Claim(owner=b, units=("file:x",), run_id="r1"))
    assert isinstance(queued, c.Queued)
    waiting = rb.send(m.WaitTicket(ticket=queued.ticket, timeout=30))
    lab.runtime.kill(a)
    granted = await waiting
    assert isinstance(granted, c.Granted)
    assert lab.status(a) == "failed"
    assert "signal 9" in lab.plane.engine.state.agents[a].error
    reaped, ended = lab.runtime.calls.index(("reap", a)), lab.plane.engine.state.agents[a].ended
    assert reaped >= 0 and ended is not None


async def test_what_a_killed_runner_had_not_sent_is_read_from_its_journal(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    journal = Journal(path_of(lab.plane.home, agent))
    for n in (1, 2, 3):
        journal.append(c.Entry(n=n, ts=n, body=Message(role="assistant", text=f"word {n}")))
    await runner.request(
        c.Report(agent=agent, entries=(c.Entry(n=1, ts=1, body=Message(role="assistant", text="word 1")),))
    )
    lab.runtime.kill(agent)
    await until(lambda: lab.status(agent) == "failed")
    lines = (await lab.client.request(m.GetLogs(agent=agent))).data  # type: ignore[union-attr]
    assert [line.split("assistant: ")[1] for line in lines if "word" in line] == ["word 1", "word 2", "word 3"]


async def test_the_journal_of_a_killed_runner_is_gone_once_all_of_it_is_in_the_log(lab: Lab) -> None:
    """A secret of another agent stands in it as it was, and in the log by its name alone."""
    await lab.run()
    await lab.spawn("other", secrets={"KEY": "correct-horse-battery"}, env={"KEY": "literal:***"})
    agent = await lab.spawn("a")
    await lab.runner(agent)
    path = path_of(lab.plane.home, agent)
    Journal(path).append(c.Entry(n=1, ts=1, body=Message(role="assistant", text="found correct-horse-battery")))
    lab.runtime.kill(agent)
    await until(lambda: not path.exists())
    assert lab.status(agent) == "failed"
    lines = (await lab.client.request(m.GetLogs(agent=agent))).data  # type: ignore[union-attr]
    assert [line.split("assistant: ")[1] for line in lines if "found" in line] == ["found [redacted:KEY]"]


async def test_a_journal_that_could_not_be_read_stays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    await lab.runner(agent)
    path = path_of(lab.plane.home, agent)
    Journal(path).append(c.Entry(n=1, ts=1, body=Message(role="assistant", text="word")))

    def unreadable(agent: str, after: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(lab.plane.supervisor, "_read_journal", unreadable)
    dropped: list[str] = []
    monkeypatch.setattr(lab.plane.supervisor, "_drop_journal", dropped.append)
    lab.runtime.kill(agent)
    await until(lambda: agent not in lab.plane.supervisor._watched)
    assert lab.status(agent) == "failed" and dropped == [] and path.exists()


async def test_a_start_that_fails_ends_the_agent_with_the_reason(lab: Lab) -> None:
    lab.runtime.refusal = Unavailable("the engine is down")
    await lab.run()
    agent = await lab.spawn("a")
    await until(lambda: lab.status(agent) == "failed")
    assert "the engine is down" in lab.plane.engine.state.agents[agent].error


async def test_a_next_plane_finds_running_agents_again_and_ends_those_that_died(open_lab: Open) -> None:
    lab = await open_lab()
    await lab.run()
    alive, dead = await lab.spawn("alive"), await lab.spawn("dead")
    runner = await lab.runner(alive)
    await lab.runner(dead)
    await runner.request(c.Claim(owner=alive, units=("file:x",), run_id="r1"))
    await lab.close()  # type: ignore[attr-defined]
    lab.runtime.kill(dead)
    lab = await open_lab()
    await until(lambda: lab.status(dead) == "failed")
    assert lab.status(alive) == "running"
    runner = await LinkClient.connect(lab.plane.server.address, hello(lab.token(alive), "runner"))
    hired = await runner.request(c.Ready(agent=alive, pid=1))
    assert isinstance(hired, c.Hired)
    assert [g.units for g in hired.grants] == [("file:x",)]
    lab.runtime.kill(alive)
    await until(lambda: lab.status(alive) == "failed")
    await runner.close()


async def test_stopping_asks_first_and_kills_what_does_not_listen(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    await lab.runner(agent, on_message=told.put_nowait)
    await until(lambda: lab.plane.engine.state.agents[agent].place)
    await lab.client.request(c.Signal(agent=agent, verb="stop", by="ada"))
    assert (await asyncio.wait_for(told.get(), 10)).verb == "stop"
    await until(lambda: lab.status(agent) == "cancelled")
    assert ("stop", agent) in lab.runtime.calls
    assert "ada" in lab.plane.engine.state.agents[agent].error


async def test_messages_that_a_runner_missed_are_in_the_answer_to_its_ready(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    await lab.client.request(c.SendText(agent=agent, text="look here"))
    await until(lambda: agent in lab.runtime.runners)
    runner = await LinkClient.connect(lab.plane.server.address, hello(lab.token(agent), "runner"))
    hired = await runner.request(c.Ready(agent=agent))
    assert isinstance(hired, c.Hired)
    assert [mail.text for mail in hired.mail] == ["look here"]
    await runner.close()


async def test_an_agent_may_act_for_itself_alone(lab: Lab) -> None:
    await lab.run()
    await lab.run("r2")
    a, b = await lab.spawn("a"), await lab.spawn("b")
    runner = await lab.runner(a)
    for foreign in (
        c.Claim(owner=b, units=("file:x",), run_id="r1"),
        c.Claim(owner=a, units=("file:x",), run_id="r2"),
        c.Finish(agent=b, status="done"),
        c.Signal(agent=b, verb="kill"),
        c.Spawn(run_id="r1", spec=c.AgentSpec(kind="script")),
        m.GetState(),
        m.Admin(verb="stop"),
        m.Renew(owner=b),
    ):
        with pytest.raises(Forbidden):
            await runner.request(foreign)


async def test_tokens_that_are_wrong_foreign_or_of_an_ended_agent_open_nothing(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    good = lab.token(agent)
    for bad in ("", "x", good[:-1], "r1/b" + good[4:], good.upper()):
        with pytest.raises(Forbidden):
            await lab.connect(bad or "-")
    await runner.request(c.Finish(agent=agent, status="done"))
    with pytest.raises(Forbidden, match="has ended"):
        await lab.connect(good)


async def test_a_run_with_live_agents_does_not_end_and_names_them(lab: Lab) -> None:
    await lab.run()
    await lab.spawn("busy")
    with pytest.raises(Refused, match="busy"):
        await lab.client.request(c.EndRun(run_id="r1"))


async def test_a_verdict_is_pushed_to_the_runner_and_asking_again_tells_it_again(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    runner = await lab.runner(agent, on_message=told.put_nowait)
    ask = c.Ask(agent=agent, approval="q1", question="May I?", kind="permission", tool="Bash")
    await runner.request(ask)
    await lab.client.request(c.Answer(approval="q1", status="approved", answer="go", by="ada", scope="session"))
    for _ in range(2):
        message = await asyncio.wait_for(told.get(), 30)
        assert (message.verb, message.text) == ("answer", "go")
        assert message.data == {"approval": "q1", "status": "approved", "by": "ada", "scope": "session", "rule": ""}
        await runner.request(ask)


async def test_a_question_with_a_limit_ends_by_itself(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    runner = await lab.runner(agent, on_message=told.put_nowait)
    await runner.request(c.Ask(agent=agent, approval="q1", question="May I?", kind="permission", timeout=0.05))
    message = await asyncio.wait_for(told.get(), 30)
    assert message.data["status"] == "expired"


async def test_of_two_people_who_answer_at_once_one_wins_and_the_other_hears_who(lab: Lab) -> None:
    await lab.run()
    agent = await lab.spawn("a")
    runner = await lab.runner(agent)
    other = await lab.connect(session_id="s2")
    for number in range(20):
        approval = f"q{number}"
        await runner.request(c.Ask(agent=agent, approval=approval, question="May I?", kind="permission"))
        answers = await asyncio.gather(
            lab.client.request(c.Answer(approval=approval, status="approved", by="ada")),
            other.request(c.Answer(approval=approval, status="denied", by="eve")),
            return_exceptions=True,
        )
        row = lab.plane.engine.state.approvals[approval]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert len(refused) == 1
        assert f"{row.status} by {row.by} already" in str(refused[0])


async def test_an_operator_takes_a_ticket_and_its_owner_and_the_next_hear_of_it(lab: Lab) -> None:
    await lab.run()
    a, b = await lab.spawn("a"), await lab.spawn("b")
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    ra, rb = await lab.runner(a, on_message=told.put_nowait), await lab.runner(b)
    held = await ra.request(c.Claim(owner=a, units=("file:x",), run_id="r1"))
    queued = await rb.request(c.Claim(owner=b, units=("file:x",), run_id="r1"))
    assert isinstance(held, c.Granted)
    assert isinstance(queued, c.Queued)
    with pytest.raises(Forbidden):
        await rb.request(c.Revoke(ticket=held.ticket))
    waiting = rb.send(m.WaitTicket(ticket=queued.ticket, timeout=30))
    await lab.client.request(c.Revoke(ticket=held.ticket, by="ada", reason="stuck"))
    assert isinstance(await waiting, c.Granted)
    message = await asyncio.wait_for(told.get(), 30)
    assert message.data == {
        "ticket": held.ticket, "reason": "operator", "units": ["file:x"], "by": "ada", "why": "stuck",
    }  # fmt: skip
    leases = await ra.request(m.Renew(owner=a))
    assert isinstance(leases, m.Leases)
    assert ([*leases.grants], [r.by for r in leases.revoked]) == ([], ["ada"])
    again = await ra.request(c.Claim(owner=a, units=("file:x",), run_id="r1"))
    assert isinstance(again, c.Queued)
    waiting = ra.send(m.WaitTicket(ticket=again.ticket, timeout=30))
    await lab.client.request(c.Revoke(ticket=again.ticket, by="ada"))
    with pytest.raises(NotFound, match="revoked by ada"):
        await waiting
