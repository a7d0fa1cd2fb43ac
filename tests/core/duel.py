"""The core against the oracle: both are told the same, and must come to the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oracle import Oracle, Request, inside, region
from world import Watcher, World

from agentlab.core import commands as c
from agentlab.core.events import Mode, Priority
from agentlab.core.turn import Rules
from agentlab.core.views import take_changes
from agentlab.errors import AlreadyHeld, Refused, WouldBlock

ROOTS = {"r": "/w", "s": "/w/sub", "p": "/w", "q": "/elsewhere"}
"""Runs and their workspaces: `s` lies inside `r`; `p` and `q` have no agents."""

AGENTS = ("r/a", "r/b", "r/c", "s/d", "s/e")
PEOPLE = ("user:ada", "user:eve")

UNITS = (
    "dir:.", "dir:sub", "dir:src", "file:src", "file:src/a", "notebook:src/a", "file:src/deep/b", "file:src2", "file:a",
    "file:sub/a", "dir:sub/src", "proc:test", "proc:build", "port:8000",
)  # fmt: skip

MODES = ("X", "S", "SIX")
PRIORITIES = ("operator", "normal", "background")

LIMITS = Rules(bypass=2, pause_hold=100.0, idle_run=1e12, queued=1e12, dispatched=1e12)


@dataclass
class Writing:
    """A time in which somebody could change something. Log positions."""

    owner: str
    region: tuple[str, ...]
    until: int | None = None


class Duel:
    def __init__(self) -> None:
        self.world = World(LIMITS)
        self.watcher = Watcher(self.world)
        self.oracle = Oracle(bypass=LIMITS.bypass, pause_hold=LIMITS.pause_hold, now=self.world.now)
        for run in ("s", "p", "q"):
            self.world.run(run, ROOTS[run])
        self.names = {place: self.world.agent(place[2:], run=place[0]) for place in AGENTS}  # the latest of each name
        self.closed: dict[str, int] = {}
        self.overtaken: dict[int, set[int]] = {}  # waiting ticket -> later ones that were served before it
        self.favoured: set[int] = set()  # tickets that an operator moved
        self.writing: dict[tuple[int, str], Writing] = {}
        self.written: list[Writing] = []
        self.check()

    # --- who and where -----------------------------------------------------------------------------------------

    def owners(self) -> list[str]:
        return [*self.names.values(), *PEOPLE]

    def runs_of(self, owner: str) -> list[str]:
        if owner in PEOPLE:
            return ["r", "s", *(self.run_id(run) for run in ("p", "q"))]
        return [owner.partition("/")[0]]

    def run_id(self, run: str) -> str:
        return f"{run}{self.closed[run]}" if run in self.closed else run

    # --- what can happen ---------------------------------------------------------------------------------------

    def claim(
        self, owner: str, run: str, units: tuple[str, ...], mode: str, *, priority: str = "normal", ttl: float = 60.0,
        yields: bool = False, wait: bool = True,
    ) -> None:  # fmt: skip
        said, request = self.oracle.claim(
            owner, run, ROOTS[run[0]], units, mode, priority=priority, ttl=ttl, yields=yields, wait=wait
        )
        command = c.Claim(
            owner=owner, units=units, mode=Mode(mode), run_id=run, ttl=ttl, priority=Priority(priority), yields=yields,
            wait=wait,
        )  # fmt: skip
        reply = self.world.ask(command)
        if said == "granted":
            assert isinstance(reply, c.Granted), (said, reply)
            assert request is not None
            assert (set(reply.units), reply.mode) == (set(request.units), request.mode)
            request.ticket = request.ticket or reply.ticket
            assert reply.ticket == request.ticket, "a yield keeps its ticket"
        elif said == "queued":
            assert isinstance(reply, c.Queued), (said, reply)
            assert request is not None
            request.ticket = request.ticket or reply.ticket
            assert reply.ticket == request.ticket, "a yield keeps its ticket"
            behind = self.oracle.behind(request)
            assert {b.ticket for b in reply.behind} == {b.ticket for b in behind}
            assert reply.position == 1 + sum(not b.held for b in behind)
        else:
            kind = {"busy": Refused, "already": AlreadyHeld, "blocked": WouldBlock}[said]
            assert isinstance(reply, kind), (said, reply)
            assert type(reply) is kind
        self.check()

    def release(self, owner: str, tickets: tuple[int, ...] = (), units: tuple[str, ...] = ()) -> None:
        self.oracle.release(owner, tickets, units)
        self.world.release(owner, *tickets, units=units)
        self.check()

    def advance(self, seconds: float) -> None:
        self.world.now += seconds
        self.oracle.now = self.world.now

    def tick(self) -> None:
        self.oracle.tick(list(self.world.state.agents))
        self.world.tick()
        self.check()

    def renew(self, owner: str) -> None:
        self.oracle.renew(owner)
        self.world.renew(owner)

    def respawn(self, place: str) -> None:
        """An agent ends, and one of the same name takes its place."""
        old = self.names[place]
        self.oracle.gone(old)
        self.world.finish(old)
        self.check()
        self.names[place] = self.world.agent(place[2:], run=place[0])
        self.oracle.renew(self.names[place])
        self.check()

    def pause(self, agent: str) -> None:
        self.oracle.pause(agent)
        self.world.do(c.Signal(agent=agent, verb="pause"))
        self.check()

    def resume(self, agent: str) -> None:
        if agent in self.oracle.paused:
            self.oracle.resume(agent)
            self.world.do(c.Signal(agent=agent, verb="resume"))
            self.check()

    def bump(self, request: Request) -> None:
        self.favoured.add(request.ticket)
        self.oracle.bump(request)
        self.world.do(c.Bump(ticket=request.ticket))
        self.check()

    def revoke(self, request: Request) -> None:
        self.oracle.release(request.owner, (request.ticket,))
        self.world.do(c.Revoke(ticket=request.ticket, by="ada"))
        assert [r.ticket for r in self.world.state.revoked_from(request.owner)][-1:] == [request.ticket]
        self.check()

    def close(self, run: str) -> None:
        """A run of people ends, and the next one over the same workspace begins."""
        self.oracle.close(self.run_id(run))
        self.world.do(c.EndRun(run_id=self.run_id(run)))
        self.check()
        self.closed[run] = self.closed.get(run, 1) + 1
        self.world.run(self.run_id(run), ROOTS[run])
        self.check()

    def restart(self) -> None:
        self.oracle.restart()
        self.world.restart()
        take_changes(self.world.state)
        self.check()

    def touched(self, owner: str, run: str, units: tuple[str, ...], since: int) -> None:
        """Whatever somebody else could have written since then."""
        reply = self.world.do(c.Touched(owner=owner, units=units, since=since, run_id=run), c.Units)
        wanted = []
        for unit in units:
            mine = region(unit, ROOTS[run[0]])
            for writing in (*self.writing.values(), *self.written):
                meets = inside(mine, writing.region) or inside(writing.region, mine)
                if writing.owner != owner and meets and (writing.until is None or writing.until > since):
                    wanted.append(unit)
                    break
        assert list(reply.units) == wanted, (reply.units, wanted, since)

    # --- what must hold ----------------------------------------------------------------------------------------

    def check(self) -> None:
        tickets = self.world.state.locks.tickets.values()
        held = sorted((t.ticket, t.owner, sorted(t.units), t.mode.value) for t in tickets if t.token)
        assert held == sorted((r.ticket, r.owner, sorted(r.units), r.mode) for r in self.oracle.line if r.held)
        waiting = [
            (t.ticket, t.owner, sorted(t.units), t.mode.value, t.bypassed)
            for t in sorted((t for t in tickets if not t.token), key=lambda t: t.key)
        ]
        assert waiting == [(r.ticket, r.owner, sorted(r.units), r.mode, r.bypassed) for r in self.oracle.waiting()]
        self._fenced()
        self._fair()
        self.watcher.check()

    def _fenced(self) -> None:
        live = [r for r in self.oracle.line if r.held]
        for i, one in enumerate(live):
            for other in live[i + 1 :]:
                assert not one.conflicts(other), "two conflicting grants"

    def _fair(self) -> None:
        """What the log says, read without the oracle: nobody was passed by later ones more often than allowed."""
        news: list[Any] = self.world.log[self.watcher.read :]
        waits = {r.ticket: r for r in self.oracle.waiting()}
        for event in news:
            body = event.body
            if event.type == "lock.request":
                self.overtaken[body.ticket] = set()  # a wait begins (again, after a yield)
            elif event.type == "lock.grant":
                self._write(body.ticket, body.owner, body.units, body.mode, event)
                granted = Request(body.owner, event.run_id, ROOTS[event.run_id[0]], list(body.units), body.mode)
                if body.ticket in self.favoured:
                    continue
                for waiting in waits.values():
                    earlier = waiting.ticket < body.ticket
                    if earlier and waiting.conflicts(granted):
                        by = self.overtaken[waiting.ticket]
                        by.add(body.ticket)
                        assert len(by) <= LIMITS.bypass, f"ticket {waiting.ticket} was overtaken by {by}"
            elif event.type in ("lock.release", "lock.expire"):
                for unit in body.units:
                    writing = self.writing.pop((body.ticket, unit), None)
                    if writing is not None:
                        writing.until = event.id
                        self.written.append(writing)

    def _write(self, ticket: int, owner: str, units: tuple[str, ...], mode: str, event: Any) -> None:
        if mode != "S":
            for unit in units:
                self.writing[ticket, unit] = Writing(owner, region(unit, ROOTS[event.run_id[0]]))
