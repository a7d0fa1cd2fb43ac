"""What an agent asks, and the one answer that it gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import Watcher, World

from agentlab.core import commands as c
from agentlab.core.events import Approval, Mode, Standing
from agentlab.core.rows import Question
from agentlab.errors import BadRequest, NotFound, Refused


@pytest.fixture
def world() -> Iterator[World]:
    """Whatever a test did: what was logged is the whole truth."""
    world = World()
    yield world
    Watcher(world).check()


def ask(agent: str, approval: str = "q1", **more: object) -> c.Ask:
    fields = {"kind": "permission", "tool": "Bash", "question": "May I?", **more}
    return c.Ask(agent=agent, approval=approval, **fields)  # type: ignore[arg-type]


def question(world: World, approval: str = "q1") -> Question:
    return world.state.approvals[approval]


def test_a_permission_shows_who_has_and_who_waits_for_what_it_names(world: World) -> None:
    a, b, d = world.agent("a"), world.agent("b"), world.agent("d")
    world.grant(b, "dir:src")
    world.queue(d, "file:src/x.py")
    world.grant(a, "file:free.txt", mode=Mode.SHARED)
    world.do(ask(a, units=("file:src/./x.py", "file:free.txt", "WebFetch https://x", "file:/etc/passwd")))
    row = question(world)
    assert row.units == ("file:src/x.py", "file:free.txt", "WebFetch https://x", "file:/etc/passwd")
    assert row.locks == (
        Standing("dir:src", b, Mode.EXCLUSIVE),
        Standing("file:src/x.py", d, Mode.EXCLUSIVE, waits=True),
        Standing("file:free.txt", a, Mode.SHARED),
    )
    world.release(b)
    assert question(world).locks[0].owner == b, "it is the state of things when it was asked"


def test_a_question_that_is_asked_again_is_the_same_one(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a, timeout=10.0))
    before = len(world.log)
    world.do(ask(a, timeout=10.0))
    assert len(world.log) == before
    b = world.agent("b")
    assert "another agent's" in world.refused(ask(b), BadRequest)


def test_of_two_answers_the_second_hears_who_was_first_and_what_it_was(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a))
    world.do(c.Answer(approval="q1", status="denied", answer="not today", by="ada"))
    text = world.refused(c.Answer(approval="q1", status="approved", by="eve"), Refused)
    assert text == "That question was denied by ada already: not today."
    assert (question(world).status, question(world).by) == ("denied", "ada")


def test_an_answer_that_is_sent_again_is_no_second_one(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a))
    first = c.Answer(approval="q1", status="approved", by="ada", rid="1")
    world.do(first)
    world.do(first)
    assert len(world.events_of(Approval)) == 2
    world.refused(c.Answer(approval="q1", status="approved", by="ada", rid="2"), Refused)


@pytest.mark.parametrize(
    ("kind", "tool", "answer", "text"),
    [
        ("permission", "Bash", {"status": "answered", "answer": "yes"}, "approve or deny it"),
        ("permission", "Bash", {"status": "maybe"}, "choose approved, denied or answered"),
        ("permission", "Bash", {"status": "approved", "scope": "forever"}, "choose one of once, session, always"),
        ("permission", "", {"status": "approved", "scope": "always"}, "answered once"),
        ("question", "Bash", {"status": "answered", "scope": "session"}, "answered once"),
        ("login", "", {"status": "approved", "scope": "session"}, "answered once"),
        ("login", "", {"status": "answered", "answer": "hunter2"}, "nothing is typed for it"),
        ("login", "", {"status": "approved", "answer": "hunter2"}, "nothing is typed for it"),
    ],
)
def test_an_answer_that_does_not_fit_leaves_the_question_open(
    world: World, kind: str, tool: str, answer: dict[str, str], text: str
) -> None:
    a = world.agent("a")
    world.do(ask(a, kind=kind, tool=tool))
    before = len(world.log)
    assert text in world.refused(c.Answer(approval="q1", **answer), BadRequest)  # type: ignore[arg-type]
    assert (len(world.log), question(world).status) == (before, "asked")
    assert "hunter2" not in repr(world.log)
    assert world.state.agents[a].status == "blocked"


def test_a_question_that_makes_no_sense_is_not_asked(world: World) -> None:
    a = world.agent("a")
    for bad in ({"kind": "wish"}, {"question": "  "}, {"timeout": 0.0}, {"timeout": float("inf")}):
        world.refused(ask(a, **bad), BadRequest)
    assert not world.state.approvals
    assert "There is no question" in world.refused(c.Answer(approval="q1", status="approved"), NotFound)


def test_what_nobody_answers_in_time_is_not_allowed(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a, timeout=30.0))
    world.do(ask(a, "q2"))
    world.tick(29.0)
    assert question(world).status == "asked"
    world.tick(1.0)
    assert (question(world).status, question(world).by) == ("expired", "plane")
    assert question(world).answer == "nobody answered within 30 s"
    assert "expired by plane already" in world.refused(c.Answer(approval="q1", status="approved"), Refused)
    world.tick(1e6)
    assert question(world, "q2").status == "asked", "without a limit it waits"
    assert world.state.agents[a].status == "blocked"


def test_a_limit_goes_on_while_the_plane_is_away(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a, timeout=30.0))
    world.restart()
    world.tick(31.0)
    assert question(world).status == "expired"


def test_a_call_that_is_cancelled_takes_its_question_back(world: World) -> None:
    a, b = world.agent("a"), world.agent("b")
    world.do(ask(a))
    world.refused(c.Withdraw(agent=b, approval="q1"), NotFound)
    world.do(c.Withdraw(agent=a, approval="q1", reason="its call was cancelled"))
    assert (question(world).status, question(world).by, world.state.agents[a].status) == ("cancelled", "a", "running")
    assert "cancelled by a already" in world.refused(c.Answer(approval="q1", status="approved"), Refused)
    world.do(ask(a, "q2"))
    world.do(c.Answer(approval="q2", status="denied"))
    world.do(c.Withdraw(agent=a, approval="q2"))
    assert question(world, "q2").status == "denied", "it was answered before"


def test_an_agent_is_blocked_until_the_last_of_its_questions_is_answered(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a, question="First?"))
    world.do(ask(a, "q2", question="Second?"))
    world.do(c.Answer(approval="q1", status="approved"))
    agent = world.state.agents[a]
    assert (agent.status, agent.reason) == ("blocked", "asks: Second?")
    world.do(c.Status(agent=a, status="running", vendor_session="s1"))
    assert (agent.status, agent.vendor_session) == ("blocked", "s1"), "its runner cannot know better"
    world.do(c.Answer(approval="q2", status="denied"))
    assert (agent.status, agent.reason) == ("running", "")


def test_leases_live_on_while_an_agent_waits_for_an_answer(world: World) -> None:
    a = world.agent("a")
    world.grant(a, "file:x", ttl=60.0)
    world.do(ask(a))
    for _ in range(10):
        world.renew(a)
        world.tick(30.0)
    assert world.holders() == {a: ["file:x"]}


def test_open_questions_outlive_the_plane(world: World) -> None:
    a = world.agent("a")
    world.do(ask(a, question="Still?"))
    world.restart()
    assert [q.question for q in world.state.asked_by(a)] == ["Still?"]
    world.do(ask(a, question="Still?"))
    assert len(world.events_of(Approval)) == 1, "the runner asks again with the same id"
    world.do(c.Answer(approval="q1", status="approved", by="ada", scope="session"))
    world.restart()
    row = question(world)
    assert (row.status, row.by, row.scope, world.state.asked) == ("approved", "ada", "session", {})
