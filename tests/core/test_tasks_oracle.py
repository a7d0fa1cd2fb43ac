"""The life of runs, agents and tasks against a model of dictionaries: whatever comes in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from world import Watcher, World

from agentlab.core import commands as c
from agentlab.core.events import AgentSpec, FileRead, StateSet
from agentlab.core.turn import Rules
from agentlab.core.views import take_changes
from agentlab.errors import AgentlabError, BadRequest, NameTaken, NotFound, Refused

RULES = Rules(queued=200.0, dispatched=100.0, pause_hold=1e9, idle_run=1e12)
OVER = ("done", "failed", "cancelled")
RUNS = ("r", "auto")


@dataclass
class Life:
    """What is true of one agent."""

    key: str
    run: str
    name: str
    task: str
    status: str = "queued"
    since: float = 0.0
    journal: int = 0
    mail: list[str] = field(default_factory=list)
    asks: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return self.status in OVER


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(RULES)
        self.world.run("auto", "/auto", auto_end=True)
        self.watcher = Watcher(self.world)
        self.runs = dict.fromkeys(RUNS, "open")
        self.lives: dict[str, Life] = {}
        self.latest: dict[tuple[str, str], Life] = {}
        self.tasks: dict[str, str] = {}  # run/task -> status
        self.rids: dict[str, Life] = {}
        self.reads = 0
        self.questions = 0
        self._check()

    # --- the model ---------------------------------------------------------------------------------------------

    def _move(self, life: Life, status: str) -> None:
        if life.status != status:
            life.status, life.since = status, self.world.now

    def _move_task(self, life: Life, status: str) -> None:
        if self.tasks[life.task] not in OVER:
            self.tasks[life.task] = status

    def _go_on(self, life: Life) -> None:
        self._move(life, "blocked" if life.asks else "running")
        self._move_task(life, life.status)

    def _end(self, life: Life, status: str) -> None:
        self._move(life, status)
        life.mail, life.asks = [], set()
        self._move_task(life, status)
        if life.run == "auto" and all(other.over for other in self.lives.values() if other.run == "auto"):
            self.runs["auto"] = status

    def _ask(self, command: c.AnyCommand, refused: type[AgentlabError] | None) -> Any:
        """The reply; refused exactly if the model says so, and exactly so."""
        before = len(self.world.log)
        reply = self.world.ask(command)
        if refused is None:
            assert not isinstance(reply, AgentlabError), repr(reply)
        else:
            assert type(reply) is refused, repr(reply)
            assert len(self.world.log) == before, "a refusal changes nothing"
        self._check()
        return reply

    def _check(self) -> None:
        state = self.world.state
        assert {k: a.status for k, a in state.agents.items()} == {k: life.status for k, life in self.lives.items()}
        assert {k: t.status for k, t in state.tasks.items()} == self.tasks
        assert {run: state.runs[run].status for run in RUNS} == self.runs
        for run in RUNS:
            mine = [life for life in self.lives.values() if life.run == run]
            assert (state.runs[run].agents, state.runs[run].live) == (len(mine), sum(not life.over for life in mine))
        for key, life in self.lives.items():
            assert [m.text for m in state.agents[key].mail] == life.mail
            assert state.journals[key] == life.journal
            asked = {q.approval for q in state.approvals.values() if q.agent == key and q.status == "asked"}
            assert asked == life.asks
        self.watcher.check()

    def _life(self, data: st.DataObject) -> Life:
        return data.draw(st.sampled_from(list(self.lives.values())), "agent")

    any_agents = precondition(lambda self: self.lives)

    @initialize(how_far=st.lists(st.integers(0, 2), min_size=3, max_size=3))
    def begin(self, how_far: list[int]) -> None:
        """Some agents are there already: queued, dispatched or running."""
        for run, name, steps in zip(("r", "r", "auto"), ("a", "b", "a"), how_far, strict=True):
            self.spawn(run, name, "")
            life = self.latest[run, name]
            if steps > 0:
                self._move(life, "dispatched")
                self._ask(c.Dispatch(agent=life.key, runtime_id="local"), None)
            if steps > 1:
                self._move(life, "running")
                self._move_task(life, "running")
                self._ask(c.Ready(agent=life.key, pid=7), None)

    # --- what can happen ---------------------------------------------------------------------------------------

    @rule(run=st.sampled_from(RUNS), name=st.sampled_from((None, "a", "b")), rid=st.sampled_from(("", "1", "2", "3")))
    def spawn(self, run: str, name: str | None, rid: str) -> None:
        command = c.Spawn(run_id=run, spec=AgentSpec(kind="script", name=name), rid=rid)
        if rid in self.rids:
            assert self._ask(command, None).agent == self.rids[rid].key
            return
        if self.runs[run] != "open":
            self._ask(command, Refused)
            return
        if name is None:
            name = next(n for i in range(1, 99) if (run, n := f"script-{i}") not in self.latest)
        before = self.latest.get((run, name))
        if before is not None and not before.over:
            self._ask(command, NameTaken)
            return
        times = sum(life.run == run and life.name == name for life in self.lives.values())
        number = 1 + sum(key.startswith(f"{run}/") for key in self.tasks)
        life = Life(
            key=f"{run}/{name}" if not times else f"{run}/{name}#{times + 1}", run=run, name=name,
            task=f"{run}/t{number}", since=self.world.now,
        )  # fmt: skip
        self.lives[life.key] = self.latest[run, name] = life
        self.tasks[life.task] = "pending"
        if rid:
            self.rids[rid] = life
        reply = self._ask(command, None)
        assert (reply.agent, f"{run}/{reply.task_id}") == (life.key, life.task)

    @any_agents
    @rule(data=st.data(), place=st.sampled_from((None, "{}")))
    def dispatch(self, data: st.DataObject, place: str | None) -> None:
        life = self._life(data)
        refused = Refused if life.over else None
        if life.status == "queued":
            self._move(life, "dispatched")
        self._ask(c.Dispatch(agent=life.key, runtime_id="local", place=place), refused)

    @any_agents
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        life = self._life(data)
        refused = Refused if life.over else None
        if life.status in ("queued", "dispatched"):
            self._move(life, "running")
            self._move_task(life, "running")
        reply = self._ask(c.Ready(agent=life.key, pid=7), refused)
        if not refused:
            assert (reply.status, reply.journal, [m.text for m in reply.mail]) == (life.status, life.journal, life.mail)

    @any_agents
    @rule(
        data=st.data(),
        status=st.sampled_from(("running", "idle", "blocked", "paused", "stopping", "done")),
        session=st.sampled_from((None, "s1", "s2")),
    )
    def status(self, data: st.DataObject, status: str, session: str | None) -> None:
        life = self._life(data)
        refused = Refused if life.over else BadRequest if status == "done" else None
        told = life.status == "stopping" or (life.status == "paused" and status != "stopping")
        told = told or (life.status == "blocked" and status == "running" and bool(life.asks))
        if not refused and not told:
            self._move(life, status)
        self._ask(c.Status(agent=life.key, status=status, vendor_session=session), refused)
        if not refused and session:
            assert self.world.state.agents[life.key].vendor_session == session

    @any_agents
    @rule(data=st.data(), verb=st.sampled_from(("pause", "resume", "stop", "kill", "interrupt", "hug")))
    def signal(self, data: st.DataObject, verb: str) -> None:
        life = self._life(data)
        refused: type[AgentlabError] | None = Refused if life.over else None
        if refused:
            pass
        elif verb == "hug":
            refused = BadRequest
        elif verb in ("stop", "kill"):
            if life.status == "queued":
                self._end(life, "cancelled")
            else:
                self._move(life, "stopping")
        elif verb == "pause":
            if life.status in ("queued", "dispatched", "stopping"):
                refused = Refused
            else:
                self._move(life, "paused")
        elif verb == "resume":
            if life.status != "paused":
                refused = Refused
            else:
                self._go_on(life)
        self._ask(c.Signal(agent=life.key, verb=verb), refused)

    @any_agents
    @rule(data=st.data(), text=st.sampled_from(("hello", "and then?", " ")))
    def send(self, data: st.DataObject, text: str) -> None:
        life = self._life(data)
        refused = Refused if life.over or life.status == "stopping" else BadRequest if text == " " else None
        if not refused:
            life.mail.append(text)
        self._ask(c.SendText(agent=life.key, text=text), refused)

    @any_agents
    @rule(data=st.data())
    def take_mail(self, data: st.DataObject) -> None:
        life = self._life(data)
        if life.mail and self.runs[life.run] == "open":
            seq = self.world.state.agents[life.key].mail[0].seq
            life.mail.pop(0)
            life.journal += 1
            taken = c.Entry(n=life.journal, ts=1, body=StateSet(store="inbox", key=str(seq), after="taken"))
            self._ask(c.Report(agent=life.key, entries=(taken,)), None)

    @any_agents
    @rule(data=st.data(), back=st.integers(0, 3), more=st.integers(0, 3))
    def report(self, data: st.DataObject, back: int, more: int) -> None:
        """A batch of the journal, of which the log may have a part already. It may come after the end."""
        life = self._life(data)
        first = max(1, life.journal + 1 - back)
        entries = tuple(
            c.Entry(n=n, ts=n, body=FileRead(path=f"{n}", hash=None)) for n in range(first, life.journal + more + 1)
        )
        refused = Refused if self.runs[life.run] != "open" else None
        if not refused:
            self.reads += more
            life.journal += more
        self._ask(c.Report(agent=life.key, entries=entries), refused)
        assert len(self.world.events_of(FileRead)) == self.reads

    @any_agents
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        life = self._life(data)
        refused = Refused if life.over else None
        self.questions += 1
        name = f"q{self.questions}"
        if not refused:
            life.asks.add(name)
            if life.status == "running":
                self._move(life, "blocked")
                self._move_task(life, "blocked")
        self._ask(c.Ask(agent=life.key, approval=name, question="may I?"), refused)

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), status=st.sampled_from(("approved", "denied", "answered", "eaten")))
    def answer(self, data: st.DataObject, status: str) -> None:
        name = f"q{data.draw(st.integers(1, self.questions), 'question')}"
        known = self.world.state.approvals.get(name)
        life = next((life for life in self.lives.values() if name in life.asks), None)
        refused = NotFound if known is None else Refused if life is None else BadRequest if status == "eaten" else None
        if life is not None and not refused:
            life.asks.discard(name)
            if life.status == "blocked":
                self._go_on(life)
        self._ask(c.Answer(approval=name, status=status, answer="yes"), refused)

    @any_agents
    @rule(data=st.data(), status=st.sampled_from((*OVER, "tired")))
    def finish(self, data: st.DataObject, status: str) -> None:
        life = self._life(data)
        refused = BadRequest if status == "tired" and not life.over else None
        if not life.over and not refused:
            self._end(life, status)
        self._ask(c.Finish(agent=life.key, status=status), refused)

    @rule(run=st.sampled_from(("nope", "r", "auto")), status=st.sampled_from(("done", "cancelled")))
    def end_run(self, run: str, status: str) -> None:
        command = c.EndRun(run_id=run, status=status)
        if run == "nope":
            self._ask(command, NotFound)
        elif self.runs[run] != "open":
            self._ask(command, None)
        elif any(not life.over for life in self.lives.values() if life.run == run):
            self._ask(command, Refused)
        else:
            self.runs[run] = status
            self._ask(command, None)

    @rule(run=st.sampled_from(RUNS), parent=st.sampled_from((None, "t1", "t99")))
    def create_task(self, run: str, parent: str | None) -> None:
        command = c.CreateTask(run_id=run, goal="more", parent=parent)
        if self.runs[run] != "open":
            self._ask(command, Refused)
        elif parent is not None and f"{run}/{parent}" not in self.tasks:
            self._ask(command, NotFound)
        else:
            key = f"t{1 + sum(key.startswith(f'{run}/') for key in self.tasks)}"
            self.tasks[f"{run}/{key}"] = "pending"
            assert self._ask(command, None).id == key

    @rule(
        run=st.sampled_from(RUNS),
        task=st.sampled_from(("t1", "t2", "t3")),
        status=st.sampled_from(("running", "done", "lazy")),
    )
    def update_task(self, run: str, task: str, status: str) -> None:
        command = c.UpdateTask(run_id=run, task_id=task, status=status)
        was = self.tasks.get(f"{run}/{task}")
        if self.runs[run] != "open":
            self._ask(command, Refused)
        elif was is None:
            self._ask(command, NotFound)
        elif status == "lazy":
            self._ask(command, BadRequest)
        elif was in OVER and was != status:
            self._ask(command, Refused)
        else:
            self.tasks[f"{run}/{task}"] = status
            self._ask(command, None)

    @rule(seconds=st.sampled_from((1.0, 60.0, 150.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        limits = {"queued": RULES.queued, "dispatched": RULES.dispatched}
        for life in self.lives.values():
            if life.status in limits and self.world.now - life.since > limits[life.status]:
                self._end(life, "failed")
        self._ask(c.Tick(), None)

    @rule()
    def restart(self) -> None:
        self.world.restart()
        for life in self.lives.values():
            life.since = self.world.now  # a plane that was away is no fault of theirs
        take_changes(self.world.state)
        self._check()


TestLives = pytest.mark.timeout(600)(Lives.TestCase)
TestLives.settings = settings(settings.get_profile("ci"), max_examples=300, stateful_step_count=40)
