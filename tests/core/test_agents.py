"""Runs, agents, tasks and questions: what is refused and in which words. (Their life as a whole: `test_tasks_oracle.py`.)"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from world import World

from agentlab import kinds
from agentlab.core import commands as c
from agentlab.core import vendors
from agentlab.core.doing import of_call
from agentlab.core.events import (
    GO_ON,
    AgentEnd,
    AgentSpec,
    AgentStart,
    Approval,
    Artifact,
    Budget,
    FileRead,
    LockGrant,
    Message,
    Mode,
    ModelCall,
    StateSet,
    ToolCall,
    ToolResult,
)
from agentlab.core.views import agent_row, tables, take_changes
from agentlab.errors import BadRequest, Forbidden, NameTaken, NotFound, OutsideWorkspace, Refused


@pytest.fixture
def world() -> World:
    return World()


def spawn(**spec: Any) -> c.Spawn:
    return c.Spawn(run_id="r", spec=AgentSpec(kind="script", **spec))


def report(agent: str, *bodies: Any, first: int = 1, **columns: Any) -> c.Report:
    entries = tuple(c.Entry(n=n, ts=n, body=body, **columns) for n, body in enumerate(bodies, start=first))
    return c.Report(agent=agent, entries=entries)


# --- runs ------------------------------------------------------------------------------------------------------


def test_a_run_that_is_started_twice_is_one_run(world: World) -> None:
    before = len(world.log)
    world.run("r", "/w")
    assert len(world.log) == before
    text = world.refused(c.StartRun(run_id="r", name="other", root="/w", host="h"), Refused)
    assert text == "Run id r is taken by 'r'; ids are never used twice."


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"root": "w"}, "The workspace must be an absolute path, not 'w'."),
        ({"name": " "}, "A run needs a name, and an id without '/'."),
        ({"run_id": "a/b"}, "A run needs a name, and an id without '/'."),
        ({"schedule": "chaos"}, "'chaos' is no schedule. Choose one of arrival, turns, recorded."),
        ({"schedule": "recorded"}, "schedule='recorded' needs the run whose order it enforces; replay offers it."),
        ({"claims": "maybe"}, "claims='maybe': choose one of implicit, explicit."),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(world: World, options: dict[str, str], text: str) -> None:
    options = {"run_id": "n", "name": "n", "root": "/n", "host": "h", **options}
    assert world.refused(c.StartRun(**options), BadRequest) == text
    assert "n" not in world.state.runs


def test_a_run_with_live_agents_is_not_ended_and_says_which(world: World) -> None:
    world.agent("a")
    world.agent("b")
    text = world.refused(c.EndRun(run_id="r"), Refused)
    assert text == "Run 'r' still has 2 live agents (a, b). Wait for them, or stop them first."


def test_a_run_ends_in_one_of_three_ways(world: World) -> None:
    assert "done, failed, cancelled" in world.refused(c.EndRun(run_id="r", status="open"), BadRequest)


def test_only_a_run_in_turns_is_let_go(world: World) -> None:
    world.run("t", "/t", schedule="turns")
    for run in ("r", "t", "t"):
        world.do(c.BeginRun(run_id=run))
    assert [event.run_id for event in world.log if event.type == "run.begin"] == ["t"]
    assert world.state.runs["t"].begun


# --- spawning --------------------------------------------------------------------------------------------------


def test_a_taken_name_says_by_whom_and_how_to_go_on(world: World) -> None:
    world.agent("a")
    assert world.refused(spawn(name="a"), NameTaken) == (
        "Run 'r' has a live agent named 'a' (running). Choose another name, or stop it first: `%agent stop a`."
    )


def test_agents_without_a_name_are_numbered_by_kind(world: World) -> None:
    assert [world.do(spawn(), c.Spawned).agent for _ in range(2)] == ["r/script-1", "r/script-2"]


@pytest.mark.parametrize("name", ["a/b", "a b", "", "-a", "a#2", "ä", "a" * 65])
def test_a_name_that_is_none_is_refused(world: World, name: str) -> None:
    if name:
        assert "is no agent name" in world.refused(spawn(name=name), BadRequest)
    else:
        assert world.do(spawn(name=name), c.Spawned).agent == "r/script-1"


def test_a_spec_is_checked_before_anything_happens(world: World) -> None:
    before = len(world.log)
    assert "choose one of implicit, explicit" in world.refused(spawn(claims_policy="maybe"), BadRequest)
    assert "leads out of the workspace" in world.refused(spawn(claims=("file:../x",)), OutsideWorkspace)
    no_parent = c.Spawn(run_id="r", spec=AgentSpec(kind="script"), parent_task="t9")
    assert "There is no task 't9' in this run" in world.refused(no_parent, NotFound)
    assert len(world.log) == before
    assert not world.state.tasks


def test_the_claims_of_a_spec_are_in_their_one_spelling(world: World) -> None:
    world.do(spawn(name="a", claims=("file:./x",)))
    assert world.state.agents["r/a"].spec.claims == ("file:x",)


def test_a_secret_is_neither_logged_nor_kept_nor_printed(world: World) -> None:
    command = c.Spawn(run_id="r", spec=AgentSpec(kind="script", env={"KEY": "env:KEY"}), secrets={"KEY": "s3cret"})
    world.do(command)
    assert b"s3cret" not in b"".join(world.encoded)
    assert "s3cret" not in repr(command)
    assert b"s3cret" not in msgspec.json.encode(tables(world.state))


def test_a_task_is_named_by_one_line_of_what_is_to_be_done(world: World) -> None:
    tasks = {"": "script", "fix it\nplease": "fix it"}
    for i, (task, goal) in enumerate(tasks.items()):
        world.do(spawn(name=f"a{i}", task=task))
        assert world.state.tasks[f"r/t{i + 1}"].goal == goal
    world.do(spawn(name="steps", task=[{"say": "x"}] * 3))
    assert world.state.tasks["r/t3"].goal == "script: 3 steps"


def test_a_runner_is_told_all_it_needs_to_begin_or_to_go_on(world: World) -> None:
    a = world.agent("a", claims_policy="explicit")
    grant = world.grant(a, "file:x", mode=Mode.SHARED)
    world.do(c.SendText(agent=a, text="hello"))
    world.do(report(a, FileRead(path="x", hash=None)))
    world.do(c.Signal(agent=a, verb="pause"))
    world.restart()
    hired = world.do(c.Ready(agent=a, pid=2), c.Hired)
    assert (hired.root, hired.host, hired.claims, hired.journal, hired.status) == ("/w", "h", "explicit", 1, "paused")
    assert hired.grants == (grant,)
    assert [mail.text for mail in hired.mail] == ["hello"]


# --- signals and messages --------------------------------------------------------------------------------------


def test_who_asked_for_a_signal_and_why_is_on_record(world: World) -> None:
    a = world.agent("a")
    world.do(c.Signal(agent=a, verb="pause", by="ada", reason="lunch"))
    assert world.state.agents[a].reason == "pause asked for by ada: lunch"


def test_there_is_nothing_to_pause_before_the_start_and_nothing_to_resume_while_it_runs(world: World) -> None:
    world.do(spawn(name="q"))
    text = world.refused(c.Signal(agent="r/q", verb="pause"), Refused)
    assert text == "Agent 'q' is queued: there is nothing to pause yet, or any more."
    a = world.agent("a")
    assert world.refused(c.Signal(agent=a, verb="resume"), Refused) == "Agent 'a' is running, not paused."


def test_an_unknown_verb_is_refused_with_those_that_exist(world: World) -> None:
    a = world.agent("a")
    text = world.refused(c.Signal(agent=a, verb="hug"), BadRequest)
    assert text == "'hug': choose one of pause, resume, stop, kill, interrupt."


def test_nobody_talks_to_an_agent_that_is_being_stopped(world: World) -> None:
    a = world.agent("a")
    assert world.refused(c.SendText(agent=a, text=" "), BadRequest) == "There is nothing in this message."
    world.do(c.Signal(agent=a, verb="stop"))
    text = world.refused(c.SendText(agent=a, text="wait"), Refused)
    assert text == "Agent 'a' is being stopped; it takes no more messages."


def test_an_agent_that_is_being_stopped_stays_so_until_its_end(world: World) -> None:
    a = world.agent("a")
    world.do(c.Signal(agent=a, verb="stop"))
    for status in ("running", "idle", "blocked", "paused"):
        world.do(c.Status(agent=a, status=status, vendor_session="v"))
        assert world.state.agents[a].status == "stopping"
    assert world.state.agents[a].vendor_session == "v", "the session it can be resumed by is kept all the same"


def test_what_is_said_of_an_idle_agent_may_change_and_is_told_once(world: World) -> None:
    a = world.agent("a")
    for reason in ("its limit resets soon", "too many requests", "too many requests"):
        world.do(c.Status(agent=a, status="idle", reason=reason))
        assert (world.state.agents[a].status, world.state.agents[a].reason) == ("idle", reason)
    before = len(world.log)
    world.do(c.Status(agent=a, status="idle", reason="too many requests"))
    assert len(world.log) == before


def test_an_agent_that_ended_says_how_to_go_on(world: World) -> None:
    a = world.agent("a")
    world.do(c.Status(agent=a, status="idle", vendor_session="v7"))
    world.finish(a, "failed", reason="process")
    text = world.refused(c.SendText(agent=a, text="hi"), Refused)
    assert text == "Agent 'a' has ended (failed). Spawn it again, or resume its session with `resume=` v7."
    assert world.refused(c.Signal(agent="r/x", verb="stop"), NotFound) == (
        "There is no agent 'r/x'. `%agent ps` lists those there are."
    )


def test_a_repeated_message_or_task_is_one(world: World) -> None:
    a = world.agent("a")
    for command in (c.SendText(agent=a, text="hi", rid="m"), c.CreateTask(run_id="r", goal="more", rid="t")):
        first = world.do(command, c.Created)
        before = len(world.log)
        assert world.do(command, c.Created) == first
        world.restart()
        assert world.do(command, c.Created) == first
        assert len(world.log) == before


def test_a_request_id_that_meant_something_else_is_refused(world: World) -> None:
    world.do(c.CreateTask(run_id="r", goal="more", rid="1"))
    text = world.refused(c.Spawn(run_id="r", spec=AgentSpec(kind="script"), rid="1"), BadRequest)
    assert text == "The request id '1' was used for something else. Give every request an id of its own."


# --- reports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            LockGrant(ticket=1, owner="r/a", units=("file:x",), mode=Mode.EXCLUSIVE, token=99),
            "may not report LockGrant",
        ),
        (AgentEnd(), "may not report AgentEnd"),
        (Approval(approval="q", answer="yes"), "may not report Approval"),
        (StateSet(store="runtime", key="local"), "may not write the store 'runtime'"),
        (StateSet(store="queue", key="1", after=[0]), "may not write the store 'queue'"),
        (Message(role="user", text="obey", to="r/b"), "Messages to other agents go through `send`"),
        (Message(role="user", text="hi", rid="1"), "Messages to other agents go through `send`"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_decided_is_not_told_by_agents(world: World, body: Any, text: str) -> None:
    a = world.agent("a")
    before = len(world.log)
    assert text in world.refused(report(a, FileRead(path="x", hash=None), body), Forbidden)
    assert len(world.log) == before
    world.do(report(a, FileRead(path="x", hash=None)))
    assert world.state.journals[a] == 1


def test_what_an_agent_does_and_uses_is_shown(world: World) -> None:
    a = world.agent("a")
    world.do(report(a, ToolCall(call="1"), name="write", unit="file:x"))
    assert world.state.agents[a].doing == "write file:x"
    for args, said in (
        ({"argv": ["sh", "-c", "ls  | wc"]}, "run sh -c 'ls | wc'"),
        ({"command": "pytest -q\n"}, "run pytest -q"),
        ({"path": "a.txt", "old": "x"}, "run a.txt"),
        ({"data": "x"}, "run"),
        ("x", "run"),
        ({"command": "x" * 500}, "run " + "x" * 155 + "…"),
    ):
        assert of_call("run", None, args) == said
    world.do(report(a, ToolResult(call="1"), ModelCall(provider="p"), first=2, tok_in=3, cost=0.5))
    world.do(report(a, ModelCall(provider="p"), first=4, tok_in=4, cost=0.25))
    agent = world.state.agents[a]
    assert (agent.doing, agent.usage) == ("", {"in": 7, "cost": 0.75})


def test_a_subagent_is_recorded_under_its_agent(world: World) -> None:
    a = world.agent("a")
    world.do(report(a, ModelCall(provider="p"), actor="scout", tok_out=2))
    assert world.log[-1].actor == "a/scout"
    assert world.state.agents[a].usage == {"out": 2}


def test_declared_outputs_are_rows_and_diffs_are_not(world: World) -> None:
    a = world.agent("a")
    world.do(report(a, Artifact(kind="report", hash="1"), Artifact(kind="diff", hash="2"), name="summary"))
    assert [(row.name, row.agent) for row in world.state.artifacts.values()] == [("summary", "a")]


# --- questions -------------------------------------------------------------------------------------------------


def test_the_first_answer_wins_and_the_second_hears_of_it(world: World) -> None:
    a = world.agent("a")
    world.do(c.Ask(agent=a, approval="q1", question="May I?"))
    world.do(c.Ask(agent=a, approval="q1", question="May I?"))
    assert (world.state.agents[a].status, world.state.agents[a].reason) == ("blocked", "asks: May I?")
    world.do(c.Answer(approval="q1", status="answered", answer="no", by="ada"))
    text = world.refused(c.Answer(approval="q1", status="approved", by="eve"), Refused)
    assert text == "That question was answered by ada already: no."
    assert world.state.agents[a].status == "running"


def test_a_question_outlives_a_pause_and_not_its_agent(world: World) -> None:
    a = world.agent("a")
    world.do(c.Ask(agent=a, approval="q1", question="May I?"))
    world.do(c.Signal(agent=a, verb="pause"))
    world.do(c.Signal(agent=a, verb="resume"))
    assert world.state.agents[a].status == "blocked", "it still waits for the answer"
    world.do(c.Signal(agent=a, verb="pause"))
    world.do(c.Answer(approval="q1", status="approved"))
    assert world.state.agents[a].status == "paused"
    world.do(c.Signal(agent=a, verb="resume"))
    assert (world.state.agents[a].status, world.state.tasks["r/t1"].status) == ("running", "running")
    world.do(c.Ask(agent=a, approval="q2", question="And now?"))
    world.finish(a)
    assert world.state.approvals["q2"].status == "cancelled"


# --- memory ----------------------------------------------------------------------------------------------------


def test_a_run_that_is_forgotten_leaves_no_row_and_says_so_to_those_who_watch(world: World) -> None:
    a = world.agent("a")
    world.do(spawn(name="b"))
    world.do(c.Ask(agent=a, approval="q", question="?"))
    world.do(report(a, Artifact(kind="report", hash="1"), name="x"))
    world.finish(a)
    world.finish("r/b")
    world.do(c.EndRun(run_id="r"))
    shown = {(table, key) for table, rows in tables(world.state, "r").items() for key in rows}
    take_changes(world.state)
    world.state.forget_run("r")
    gone = {
        (table, key) for table, rows in take_changes(world.state).items() for key, row in rows.items() if row is None
    }
    assert shown == gone
    assert not any(tables(world.state, "r").values())
    assert not world.state.requests
    assert not world.state.journals
    assert not world.state.latest


def test_every_agent_is_in_the_log_with_all_that_is_needed_to_start_it_again(world: World) -> None:
    spec = AgentSpec(kind="python", name="a", task="x = 1", claims=("file:x",), ttl=5.0, options={"deep": [1]})
    world.do(c.Spawn(run_id="r", spec=spec))
    (start,) = world.events_of(AgentStart)
    assert start.body.spec == spec  # type: ignore[union-attr]


# --- what is large -------------------------------------------------------------------------------------------

LONG = "x" * 20_000_000


def test_rows_show_long_texts_by_their_beginning(world: World) -> None:
    key = world.do(spawn(name="a", task=LONG, options={"deep": {"er": ["y" * 10**6]}}), c.Spawned).agent
    world.do(c.Ready(agent=key, pid=1))
    world.do(c.SendText(agent=key, text=LONG))
    world.do(
        c.Ask(agent=key, approval="q", question=LONG, input={"path": "a.txt", "data": LONG, "rest": list(range(10**5))})
    )
    assert len(msgspec.json.encode(tables(world.state))) < 10**6
    world.do(c.Finish(agent=key, status="failed", output={"all": [LONG, LONG]}, error=LONG))
    shown = tables(world.state)
    assert len(msgspec.json.encode(shown)) < 10**6
    row = shown["agents"][key]
    assert row["spec"]["task"].startswith("xxx") and row["spec"]["task"].endswith("x… (20,000,000 characters)")
    assert row["output"]["all"][0].endswith("x… (20,000,000 characters)")
    assert shown["approvals"]["q"]["input"]["path"] == "a.txt"
    assert world.state.agents[key].spec.task == LONG


def test_the_row_of_one_agent_has_its_answer_whole_and_all_that_it_is_made_of_but_its_task(world: World) -> None:
    key = world.do(spawn(name="a", task=LONG[:30_000], instructions=LONG[:30_000]), c.Spawned).agent
    world.do(c.Finish(agent=key, status="done", output=LONG))
    row = agent_row(world.state, key)
    assert row is not None
    assert (row["output"], row["spec"]["instructions"]) == (LONG, LONG[:30_000])
    assert row["spec"]["task"].endswith("… (30,000 characters)")


def test_a_definition_that_is_too_large_is_refused_with_what_to_do(world: World) -> None:
    text = world.refused(spawn(name="a", task=LONG + LONG), BadRequest)
    assert "Put what is long into files of the workspace" in text
    assert not world.state.agents


def test_more_messages_than_a_runner_could_be_told_at_once_are_refused_until_they_are_taken_up(world: World) -> None:
    key = world.agent("a")
    sent = world.do(c.SendText(agent=key, text=LONG), c.Created)
    assert "20,000,000 wait for agent 'a' already" in world.refused(c.SendText(agent=key, text=LONG), Refused)
    world.do(report(key, StateSet(store="inbox", key=sent.id, after="taken")))
    world.do(c.SendText(agent=key, text=LONG), c.Created)


# --- sessions that are gone on in ------------------------------------------------------------------------------


def in_session(world: World, name: str, session: str, *bodies: Any, **spec: Any) -> c.Hired:
    """An agent that was in a session of its vendor, reported this, and has ended; what its runner was told."""
    key = world.agent(name, kind="codex", **spec)
    hired = world.do(c.Ready(agent=key, pid=1), c.Hired)
    world.do(report(key, *bodies))
    world.do(c.Status(agent=key, status="running", vendor_session=session))
    world.do(c.Finish(agent=key, status="done"))
    return hired


def test_a_runner_is_told_what_was_done_in_the_session_that_its_agent_goes_on_in(world: World) -> None:
    in_session(world, "a", "s", task="count")
    idle = in_session(world, "b", "s", ToolCall(call="c1"), resume="s", task=GO_ON)
    acted = in_session(world, "c", "s", resume="s", task=GO_ON)
    assert (idle.earlier, acted.earlier) == (c.Earlier(task="count"), c.Earlier(task="count", acted=True))


def test_a_session_that_followed_another_has_the_task_of_that_one(world: World) -> None:
    in_session(world, "a", "s", ToolCall(call="c1"), task="count")
    in_session(world, "b", "s2", resume="s", task=GO_ON)
    assert in_session(world, "c", "s2", resume="s2").earlier == c.Earlier(task="count")


def test_of_a_session_that_nobody_here_has_seen_nothing_is_known(world: World) -> None:
    assert in_session(world, "a", "s", resume="elsewhere").earlier is None


# --- what a vendor's program cannot do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "asked", "said"),
    [
        ("gemini", {"budget": Budget(cost=1.0)}, "Use max_tokens or max_time instead"),
        ("codex", {"budget": Budget(cost=1.0)}, "Use max_tokens or max_time instead"),
        ("cli", {"budget": Budget(cost=1.0)}, "Use max_time instead"),
        ("cli", {"budget": Budget(tokens=1)}, "Use max_time instead"),
        ("script", {"resume": "s"}, "A script agent cannot resume a session: it has none. Spawn it with the steps"),
        ("python", {"resume": "s"}, "it has none. Spawn it with the code"),
        ("cli", {"resume": "s"}, "Name its own option for that in its command"),
        ("script", {"budget": Budget(tokens=1)}, "Use max_time instead"),
        ("python", {"budget": Budget(cost=1.0)}, "Use max_time instead"),
    ],
)
def test_what_an_agent_cannot_be_held_to_is_refused_before_it_is_made(
    world: World, kind: str, asked: dict[str, Any], said: str
) -> None:
    assert said in world.refused(c.Spawn(run_id="r", spec=AgentSpec(kind=kind, **asked)), BadRequest)
    world.do(c.Spawn(run_id="r", spec=AgentSpec(kind="opencode", **asked)))


@pytest.mark.parametrize(
    ("kind", "boundary", "options", "said"),
    [
        ("cli", "tools", {"command": "x"}, "it has native. Say boundary='native', --boundary native (weaker"),
        ("acp", "tools", {"command": "x"}, "boundary='tools' cannot be kept for this agent"),
        ("acp", "tools", {"command": "x", "builtins_off": None}, "Say boundary='native', --boundary native"),
        ("script", "native", {}, "A script agent cannot have boundary='native'; it has tools. Say boundary='tools'"),
        ("python", "native", {}, "it has tools"),
        ("codex", "none", {}, "it has tools or native"),
    ],
)
def test_a_boundary_that_cannot_be_had_is_refused_before_the_agent_is_made(
    world: World, kind: str, boundary: str, options: dict[str, Any], said: str
) -> None:
    spec = AgentSpec(kind=kind, boundary=boundary, options=options)
    before = len(world.log)
    assert said in world.refused(c.Spawn(run_id="r", spec=spec), BadRequest)
    assert len(world.log) == before


@pytest.mark.parametrize(
    ("kind", "boundary", "options"),
    [
        ("cli", "native", {}),
        ("acp", "native", {}),
        ("acp", "tools", {"builtins_off": []}),
        ("codex", "native", {}),
        ("claude", "native", {}),
        ("of-a-package", "native", {}),  # what it can hold, its runner says
    ],
)
def test_a_boundary_that_can_be_had_is_not(world: World, kind: str, boundary: str, options: dict[str, Any]) -> None:
    world.do(c.Spawn(run_id="r", spec=AgentSpec(kind=kind, boundary=boundary, options=options)))


@pytest.mark.parametrize("kind", sorted(kinds.DRIVERS))
def test_what_is_refused_here_is_what_the_driver_cannot_hold(kind: str) -> None:
    assert vendors.BOUNDARIES[kind] == kinds.load(kind).boundaries
