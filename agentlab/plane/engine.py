"""The single writer. Commands are decided in the order in which they arrive, and answered when what they caused is durable.

While one batch is being committed the next one gathers: that is the group commit. An answer leaves only after the commit
of the batch that its command belongs to, in order, so nothing that anybody was told can be lost, and a grant can never be
durable before the release it rests on.

An error from a commit means that nobody knows. Then everything unanswered is answered `OutcomeUnknown`, nothing more is
decided, the store is opened anew, the state is folded from what is really there, and the engine goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from agentlab.core import commands as c
from agentlab.core.decide import decide
from agentlab.core.events import Blob, Event
from agentlab.core.fold import apply
from agentlab.core.leases import Leases
from agentlab.core.rows import ENDED
from agentlab.core.schedule import Turns
from agentlab.core.state import State
from agentlab.core.turn import PLANE, Instant, Rules
from agentlab.errors import AgentlabError, OutcomeUnknown, Unavailable
from agentlab.store.base import Batch, Snapshot, Store

GATHER = 6  # turns of the loop that a commit is held back at most, some 10 us each

log = logging.getLogger(__name__)

Answered = Callable[[c.AnyReply | AgentlabError], None]
Committed = Callable[[Sequence[Event]], None]
Crossing = tuple[c.AnyCommand, Answered]
_CROSSINGS = (c.Claim, c.Release, c.Finish)


def clock() -> Instant:
    """Wall time for people, and a monotonic clock that also counts while the machine sleeps."""
    return Instant(wall=time.time_ns(), mono=time.clock_gettime(time.CLOCK_BOOTTIME))


class Engine:
    def __init__(self, store: Store, rules: Rules | None = None, now: Callable[[], Instant] = clock) -> None:
        self.store = store
        self.rules = rules or Rules()
        self.now = now
        self.state = State()
        self.leases = Leases()
        self.committed = 0  # id of the last durable event
        self.failure: str = ""  # why nothing is decided at the moment
        self.on_commit: list[Committed] = []  # called with each durable batch, in order
        self.on_rebuild: list[Callable[[], None]] = []  # called after the state was folded anew
        self.on_ask: Callable[[], None] = lambda: None  # before a question is decided
        self.last_commit = 0.0  # monotonic
        self._batch = Batch()
        self._answers: list[tuple[Answered, c.AnyReply | AgentlabError]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._turns: dict[str, Turns[Crossing]] = {}

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and fold what is in it. Raises StoreCorrupt, Unavailable (somebody else has it open)."""
        await self.store.open()
        await self._fold()
        self._idle.set()
        self._writer = asyncio.create_task(self._write(), name="agentlab-writer")

    async def close(self) -> None:
        """Commit what was decided, then let go."""
        if self._writer is not None:
            await self._idle.wait()
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self.store.close()

    async def _fold(self) -> None:
        state = State()
        runs = await self.store.open_runs()
        if runs:
            async for events in self.store.events(runs=runs):
                for event in events:
                    apply(state, event)
        state.journals |= await self.store.journals(runs)
        state.position = self.committed = await self.store.last_id()
        state.changed.clear()
        now = self.now()
        leases = Leases()
        leases.restart(state.locks, now.mono)
        leases.since = dict.fromkeys(state.agents, now.mono)
        leases.seen |= dict.fromkeys(state.runtimes, now.mono)
        # Of grants that have ended, which `touched` looks at, those of runs that have ended were not folded.
        state.locks.forgotten = max(state.locks.forgotten, await self.store.last_ended_id())
        self.state, self.leases = state, leases
        self._turns.clear()

    # --- commands ----------------------------------------------------------------------------------------------

    def post(self, command: c.AnyCommand, answered: Answered) -> None:
        """Decide now; `answered` is called when the outcome is durable (or with an error)."""
        if self.failure:
            answered(Unavailable(self.failure))
            return
        if isinstance(command, _CROSSINGS) and (turns := self._schedule(command)) is not None:
            turns.offer(_whose(command), (command, answered))
            self._cross(turns)
            return
        self._decide(command, answered)
        if self._turns:
            for turns in list(self._turns.values()):
                self._cross(turns)

    async def submit(self, command: c.AnyCommand) -> c.AnyReply:
        """Decide, wait until it is durable, return the reply. Raises what the command was refused with."""
        future: asyncio.Future[c.AnyReply | AgentlabError] = asyncio.get_running_loop().create_future()
        self.post(command, lambda reply: None if future.done() else future.set_result(reply))
        reply = await future
        if isinstance(reply, AgentlabError):
            raise reply
        return reply

    def keep(
        self, blobs: Sequence[Blob] = (), snapshot: Snapshot | None = None, answered: Answered | None = None
    ) -> None:
        """Content for the next commit: durable before or with whatever is posted afterwards, and when `answered` is called."""
        if self.failure and answered is not None:
            answered(Unavailable(self.failure))
            return
        self._batch.blobs.extend(blobs)
        if snapshot is not None:
            self._batch.snapshots.append(snapshot)
        if answered is not None:
            self._answers.append((answered, c.Done()))
        self._stir()

    async def settled(self) -> None:
        """Return when all that was decided so far is durable, or known not to be."""
        await self._idle.wait()

    def _decide(self, command: c.AnyCommand, answered: Answered) -> None:
        try:
            if isinstance(command, c.Ask):
                self.on_ask()
            reply, events = decide(self.state, self.leases, command, self.now(), self.rules)
        except Exception:
            # A defect of ours: the state may be half changed. What is in the log is right, so fold it again.
            log.exception("deciding %s failed; the state is folded anew", type(command).__name__)
            self._answers.append(
                (answered, AgentlabError(f"The plane failed on {type(command).__name__}; see its log."))
            )
            self.failure = "The plane is folding its state anew after a defect; try again."
            self._stir()
            return
        self._batch.events.extend(events)
        if isinstance(command, c.Report):
            self._batch.journals[command.agent] = self.state.journals.get(command.agent, 0)
        self._answers.append((answered, reply))
        self._stir()

    def _stir(self) -> None:
        if not self._wake.is_set():
            self._idle.clear()
            self._wake.set()

    # --- schedules ---------------------------------------------------------------------------------------------

    def _schedule(self, command: c.Claim | c.Release | c.Finish) -> Turns[Crossing] | None:
        """The turnstile of the run of an agent; None where crossings are decided as they come."""
        agent = self.state.agents.get(_whose(command))
        if agent is None:
            return None
        run = self.state.runs[agent.run_id]
        if run.schedule != "turns" or (isinstance(command, c.Finish) and not run.begun):
            return None  # an end before the beginning is in nobody's way
        if run.run_id not in self._turns:
            state, run_id = self.state, run.run_id
            self._turns[run_id] = Turns(
                begun=lambda: state.runs[run_id].begun,
                members=lambda: [a.agent for a in state.agents.values() if a.run_id == run_id],
                away=lambda key: state.agents[key].status in ENDED or state.locks.waiting_of(key) is not None,
            )
        return self._turns[run.run_id]

    def _cross(self, turns: Turns[Crossing]) -> None:
        while (taken := turns.take()) is not None:
            command, answered = taken[1]
            self._decide(command, answered)

    # --- the writer --------------------------------------------------------------------------------------------

    async def _gather(self, expected: int) -> None:
        """Let those who were just answered ask again, before a commit that they would have to wait through."""
        for _ in range(GATHER):
            if len(self._answers) >= expected:
                return
            await asyncio.sleep(0)

    async def _write(self) -> None:
        expected = 0
        while True:
            await self._wake.wait()
            await self._gather(expected)
            self._wake.clear()
            batch, answers = self._batch, self._answers
            self._batch, self._answers = Batch(), []
            try:
                if batch.events or batch.blobs or batch.snapshots:
                    await self.store.append(batch)
            except AgentlabError as error:
                await self._recover(error, answers)
                continue
            except Exception as error:
                log.exception("the store failed in a way that it does not know")
                await self._recover(OutcomeUnknown(f"{type(error).__name__}: {error}."), answers)
                continue
            if batch.events:
                self.committed = batch.events[-1].id
                self.last_commit = time.monotonic()
            expected = len(answers) + len(self._answers)
            for answered, reply in answers:
                _answer(answered, reply)
            if batch.events:
                self._publish(batch.events)
            if self.failure:
                await self._recover(Unavailable(self.failure), [])
            elif not self._wake.is_set():
                self._idle.set()

    async def _recover(self, error: AgentlabError, answers: list[tuple[Answered, c.AnyReply | AgentlabError]]) -> None:
        """The state is ahead of the log, and by how much nobody knows: say so, stop granting, and find out."""
        log.error("the log is in doubt: %s", error)
        self.failure = f"The log cannot be written ({error}); nothing is granted until it can. Try again."
        published = self.committed
        unknown = OutcomeUnknown(f"{error} Whether it happened is not known yet; repeat the request with the same id.")
        # Any other error than that one says that nothing of the batch is there, and never will be.
        told = unknown if isinstance(error, Unavailable) else error
        for answered, _ in answers:
            _answer(answered, told)
        held_back = [crossing for turns in self._turns.values() for crossing in turns.held_back()]
        for answered in [*(answered for answered, _ in self._answers), *(answered for _, answered in held_back)]:
            _answer(answered, unknown)
        self._answers, self._batch = [], Batch()
        delay = 0.05
        while True:
            try:
                await self.store.reopen()
                await self._fold()
                break
            except (AgentlabError, OSError) as again:
                log.error("the store cannot be opened (next try in %.1f s): %s", delay, again)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
        async for events in self.store.events(since=published):
            self._publish(events)
        self.failure = ""
        for rebuilt in self.on_rebuild:
            rebuilt()
        if not self._wake.is_set():
            self._idle.set()

    def _publish(self, events: Sequence[Event]) -> None:
        for listener in self.on_commit:
            try:
                listener(events)
            except Exception:
                log.exception("a listener failed on %d events", len(events))

    # --- memory ------------------------------------------------------------------------------------------------

    def trim(self, keep: int) -> None:
        """Forget the rows of all but the newest `keep` ended runs; they stay in the log."""
        ended = [r for r in self.state.runs.values() if r.status != "open" and r.run_id != PLANE]
        ended.sort(key=lambda run: run.ended or 0)
        for run in ended[: max(0, len(ended) - keep)]:
            self._turns.pop(run.run_id, None)
            self.state.forget_run(run.run_id)


def _whose(command: c.Claim | c.Release | c.Finish) -> str:
    return command.agent if isinstance(command, c.Finish) else command.owner


def _answer(answered: Answered, reply: c.AnyReply | AgentlabError) -> None:
    try:
        answered(reply)
    except Exception:
        log.exception("an answer could not be delivered")
