"""A core with a clock that stands still until it is told to go on, and everything about it that tests ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from agentlab.core import commands as c
from agentlab.core import fold
from agentlab.core.decide import decide
from agentlab.core.events import AgentSpec, Event, Mode, decode_payload, encode_payload
from agentlab.core.leases import Leases
from agentlab.core.state import State
from agentlab.core.turn import PLANE, Instant, Rules
from agentlab.core.views import tables, take_changes
from agentlab.errors import AgentlabError

R = TypeVar("R")

_rows = msgspec.json.Encoder(order="deterministic")


def stored(event: Event) -> Event:
    """The event as it comes back from the log: its payload as JSON, its columns beside it."""
    return msgspec.structs.replace(event, body=decode_payload(encode_payload(event.body), event.type))


def folded(events: list[Event]) -> State:
    state = State()
    for event in events:
        fold.apply(state, event)
    return state


class World:
    """One run `r` over /w on host h, and the run that belongs to the plane. `log` is what was durable."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.state = State()
        self.leases = Leases()
        self.log: list[Event] = []
        self.encoded: list[bytes] = []  # of each event, at the moment when it was chosen
        self.now = 1_000.0  # s, monotonic
        self.run(PLANE, "/", host="")
        self.run("r", "/w")

    # --- asking ------------------------------------------------------------------------------------------------

    def ask(self, command: c.AnyCommand) -> Any:
        """The reply, or the error that it was refused with."""
        instant = Instant(wall=int(self.now * 1e9) + 1_700_000_000_000_000_000, mono=self.now)
        reply, events = decide(self.state, self.leases, command, instant, self.rules)
        self.log += events
        self.encoded += [msgspec.json.encode(event) for event in events]
        return reply

    def do(self, command: c.AnyCommand, kind: type[R] = c.Reply) -> R:
        """The reply. A refusal fails the test."""
        reply = self.ask(command)
        assert isinstance(reply, kind), repr(reply)
        return reply

    def refused(self, command: c.AnyCommand, kind: type[AgentlabError] = AgentlabError) -> str:
        """The text of the refusal. Anything else fails the test."""
        reply = self.ask(command)
        assert isinstance(reply, kind), repr(reply)
        return str(reply)

    # --- the usual ---------------------------------------------------------------------------------------------

    def run(self, run_id: str, root: str, *, host: str = "h", **options: Any) -> str:
        self.do(c.StartRun(run_id=run_id, root=root, host=host, **{"name": run_id, **options}), c.Opened)
        return run_id

    def agent(self, name: str, run: str = "r", kind: str = "script", **spec: Any) -> str:
        """A running agent."""
        key = self.do(c.Spawn(run_id=run, spec=AgentSpec(kind=kind, name=name, **spec)), c.Spawned).agent
        self.do(c.Dispatch(agent=key, runtime_id="local"))
        self.do(c.Ready(agent=key, pid=1), c.Hired)
        return key

    def claim(self, owner: str, *units: str, mode: Mode = Mode.EXCLUSIVE, run: str = "", **options: Any) -> Any:
        run = run or (owner.partition("/")[0] if "/" in owner else "r")
        return self.ask(c.Claim(owner=owner, units=units, mode=mode, run_id=run, **options))

    def grant(self, owner: str, *units: str, **options: Any) -> c.Granted:
        reply = self.claim(owner, *units, **options)
        assert isinstance(reply, c.Granted), repr(reply)
        return reply

    def queue(self, owner: str, *units: str, **options: Any) -> c.Queued:
        reply = self.claim(owner, *units, **options)
        assert isinstance(reply, c.Queued), repr(reply)
        return reply

    def release(self, owner: str, *tickets: int, units: tuple[str, ...] = ()) -> None:
        self.do(c.Release(owner=owner, tickets=tickets, units=units), c.Done)

    def finish(self, agent: str, status: str = "done", **options: Any) -> None:
        self.do(c.Finish(agent=agent, status=status, **options), c.Done)

    def tick(self, later: float = 0.0) -> None:
        self.now += later
        self.do(c.Tick(), c.Done)

    def renew(self, owner: str) -> None:
        self.leases.renew(owner, self.now)

    def restart(self) -> None:
        """A new plane over the same log. The journals' positions are kept by the store, beside the events."""
        journals = self.state.journals
        self.state = folded([stored(event) for event in self.log])
        self.state.journals |= journals
        self.leases = Leases()
        self.leases.restart(self.state.locks, self.now)
        self.leases.since = dict.fromkeys(self.state.agents, self.now)
        self.leases.seen |= dict.fromkeys(self.state.runtimes, self.now)

    # --- looking -----------------------------------------------------------------------------------------------

    def holders(self) -> dict[str, list[str]]:
        """Owner -> the units that it holds."""
        found: dict[str, list[str]] = {}
        for ticket in self.state.locks.tickets.values():
            if ticket.token:
                found.setdefault(ticket.owner, []).extend(ticket.units)
        return found

    def waiters(self) -> list[str]:
        """Who waits, in order."""
        waiting = [t for t in self.state.locks.tickets.values() if not t.token]
        return [t.owner for t in sorted(waiting, key=lambda t: t.key)]

    def events_of(self, kind: type, where: Callable[[Event], bool] = lambda _: True) -> list[Event]:
        return [event for event in self.log if isinstance(event.body, kind) and where(event)]


def view(state: State) -> bytes:
    """All rows, in one spelling."""
    return _rows.encode(tables(state))


class Watcher:
    """Sits beside a world and checks, step by step, what must hold after every command, whatever it was."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folded = State()
        self.mirror: dict[str, dict[str, Any]] = {}
        self.read = 0
        self.token = 0
        self.seqs: dict[str, int] = {}

    def check(self) -> None:
        world = self.world
        for event in world.log[self.read :]:
            self._numbered(event)
            fold.apply(self.folded, stored(event))
        self.read = len(world.log)
        assert view(self.folded) == view(world.state), "decide is not choose + apply"
        assert (self.folded.position, self.folded.token) == (world.state.position, world.state.token)
        assert [msgspec.json.encode(e) for e in world.log[-8:]] == world.encoded[-8:], (
            "an event changed after it was chosen"
        )
        self._mirrored()
        self._orderly()

    def _numbered(self, event: Event) -> None:
        assert event.id == self.read + 1, "ids have a gap"
        self.read += 1
        assert event.seq == self.seqs.get(event.run_id, 0) + 1, "seqs have a gap"
        self.seqs[event.run_id] = event.seq
        token = getattr(event.body, "token", 0) if event.type == "lock.grant" else 0
        if token:
            assert token > self.token, "a fencing token does not rise"
            self.token = token

    def _mirrored(self) -> None:
        """Whoever follows the row deltas sees what a snapshot would show."""
        for table, rows in take_changes(self.world.state).items():
            mine = self.mirror.setdefault(table, {})
            for key, row in rows.items():
                if row is None:
                    mine.pop(key, None)
                else:
                    mine[key] = row
        shown = tables(self.world.state)
        for rows in (*self.mirror.get("runs", {}).values(), *shown["runs"].values()):
            rows.update(seq=0, touched=0)  # they go on with every event, and are sent with the next real change
        for table, rows in shown.items():
            assert rows == self.mirror.get(table, {}), f"the deltas of {table} are not the whole truth"

    def _orderly(self) -> None:
        locks = self.world.state.locks
        if not locks.tickets:
            assert locks.node_count == 0, "nodes are left over"
        waits = {t.owner: t for t in locks.tickets.values() if not t.token}
        for owner in waits:
            assert not locks.held_by(owner), f"{owner} holds while it waits"
        edges = {o: {b.owner for b in locks.blockers(o, t.nodes, t.key)} for o, t in waits.items()}
        for owner in waits:
            assert edges[owner], f"{owner} waits for nobody"
        while leaves := [owner for owner, behind in edges.items() if not behind & edges.keys()]:
            for owner in leaves:
                del edges[owner]
        assert not edges, f"a cycle of waits: {edges}"
