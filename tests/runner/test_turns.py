"""How the turns of a vendor's agent live, whichever agent it is: this one is a list of what it was asked."""

from __future__ import annotations

import asyncio

import pytest
from fake_plane import until

from agentlab.core.events import Error
from agentlab.errors import BadRequest
from agentlab.runner.drivers import turns as room
from agentlab.runner.drivers.base import Turn
from agentlab.runner.drivers.failures import Failure
from agentlab.runner.drivers.tree import Tree
from agentlab.runner.drivers.turns import Prompt, Turns, insist, started, text_of
from agentlab.testing.gate import MemoryGate, MemoryPlane

GONE = Turn("failed", error="It went.", reason="process", exit_code=3, last_lines="oh")


class Agent:
    """Closes its turn when it has been asked `patience` times; `killed` when it was."""

    def __init__(self, patience: int = 1) -> None:
        self.gate = MemoryGate(MemoryPlane(), "r1/a")
        self.turns: Turns[Prompt] = Turns(self.gate, "s1", self.stop)
        self.tree = Tree("AGENTLAB_TEST")
        self.patience = patience
        self.asked: list[Prompt] = []
        self.killed = False
        self.tree.kill = self.kill  # type: ignore[method-assign]

    async def kill(self, *, grace: float = 0) -> None:
        self.killed = True
        self.turns.no_more(GONE)
        self.turns.end()

    async def stop(self, prompt: Prompt) -> None:
        async def ask() -> None:
            self.asked.append(prompt)
            if len(self.asked) >= self.patience:
                self.turns.end("stopped")

        await insist(prompt, self.tree, ask)

    async def turn(self) -> object:
        async with self.turns.begin(Prompt()) as prompt:
            return await asyncio.shield(prompt.ended)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_AGAIN", 0.01)
    monkeypatch.setattr(room, "_LIMIT", 0.2)


async def begun(agent: Agent) -> asyncio.Task[object]:
    turn = asyncio.create_task(agent.turn())
    await until(lambda: agent.turns.current)
    return turn


async def test_a_turn_is_what_the_agent_closes_it_with_and_there_is_one_at_a_time() -> None:
    agent = Agent()
    turn = await begun(agent)
    with pytest.raises(BadRequest, match="middle of a turn"):
        agent.turns.over()
    agent.turns.end("closed")
    agent.turns.end("closed twice")
    assert await turn == "closed"
    assert agent.turns.over() is None, "the next one can begin"


async def test_an_agent_is_interrupted_until_it_has_closed_the_turn(hasty: None) -> None:
    agent = Agent(patience=3)
    turn = await begun(agent)
    await agent.turns.interrupt()
    assert await turn == "stopped"
    assert (len(agent.asked), agent.asked[0].interrupted, agent.killed) == (3, True, False)
    await agent.turns.interrupt()
    assert len(agent.asked) == 3, "there is no turn any more"


async def test_whoever_is_cancelled_leaves_no_turn_behind(hasty: None) -> None:
    agent = Agent(patience=2)
    turn = await begun(agent)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert agent.asked[0].ended.result() == "stopped"
    assert agent.turns.current is None


async def test_an_agent_that_does_not_react_is_killed(hasty: None) -> None:
    agent = Agent(patience=10**9)
    turn = await begun(agent)
    await agent.turns.interrupt()
    assert (await turn, agent.killed) == (None, True)
    assert agent.turns.over() == GONE


async def test_our_own_reason_to_end_a_turn_is_told_also_where_the_agent_had_to_be_killed(hasty: None) -> None:
    agent = Agent(patience=10**9)
    turn = await begun(agent)
    agent.turns.give_up("It used a tool of its own.", Failure("boundary", "Use an older one."))
    agent.turns.give_up("And another one.", Failure("unknown"))
    assert await turn is None
    ended = agent.turns.unclosed(agent.asked[0], {"in": 1.0})
    assert (ended.status, ended.reason, ended.usage) == ("failed", "boundary", {"in": 1.0})
    assert ended.error == "It used a tool of its own.\nUse an older one."


async def test_a_turn_that_its_agent_left_open_ends_like_all_later_ones_unless_it_was_interrupted() -> None:
    agent = Agent()
    agent.turns.no_more(GONE)
    agent.turns.close()
    ended = agent.turns.unclosed(Prompt(), {"in": 1.0})
    assert (ended.error, ended.exit_code, ended.usage, ended.vendor_session) == ("It went.", 3, {"in": 1.0}, "s1")
    assert agent.turns.unclosed(Prompt(interrupted=True), {}).status == "cancelled"
    assert agent.turns.over() == GONE, "what was known first counts"


async def test_a_failure_is_recorded() -> None:
    agent = Agent()
    assert agent.turns.told(GONE) == GONE
    assert agent.turns.told(Turn("done")).status == "done"
    assert agent.gate.of(Error) == [Error(kind="process", message="It went.")]


async def test_a_tree_rests_again_only_when_it_is_still_to_be_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, seen = Tree("AGENTLAB_TEST"), []
    monkeypatch.setattr(tree, "processes", lambda: seen.append("looked") or [])
    await tree.freeze()
    await tree.wake()
    await tree.rest()
    assert len(seen) == 3
    await tree.thaw()
    await tree.rest()
    assert len(seen) == 4


def test_what_is_no_prompt_is_refused() -> None:
    assert text_of("Do it.", "a claude agent") == "Do it."
    with pytest.raises(BadRequest, match="The task of a claude agent is its prompt"):
        text_of(" ", "a claude agent")
    with pytest.raises(BadRequest, match="not been started"):
        started(None)
