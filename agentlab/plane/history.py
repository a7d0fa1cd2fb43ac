"""The past, from the log: the state of a run as it was, and what its agents said.

A state is made by folding from the nearest keyframe: a copy of the state that was kept, every so many events, the first
time that a fold came along. Nothing of it is written; the log alone says what was.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_right
from typing import NamedTuple, NoReturn

from agentlab.core.fold import apply
from agentlab.core.state import State
from agentlab.core.transcript import log_lines
from agentlab.core.views import TABLES
from agentlab.errors import NotFound
from agentlab.store.base import Store

EVERY = 500  # events between two keyframes at first: a page of the log, some milliseconds to read and fold
FRAMES = 512  # keyframes of one run; with more, every other one goes
ROWS = 150_000  # of all keyframes together: some 50 MB, as most of a row is shared
RUNS = 64  # of which anything is remembered
STRIDE = 20  # keyframes made before somebody else has their turn at a run


class Frame(NamedTuple):
    """The state after event `seq`. Not to be changed: fold on in a copy."""

    seq: int
    state: State
    rows: int


class Film:
    """The keyframes of one run, by seq."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.frames: list[Frame] = []
        self.rows = 0
        self.growing = asyncio.Lock()

    @property
    def end(self) -> int:
        return self.frames[-1].seq if self.frames else 0

    def lacks(self, seq: int) -> bool:
        """Whether it ends too long before this event."""
        return seq - self.end > self.every

    def before(self, seq: int) -> tuple[int, State]:
        """The last keyframe at or before an event, as a state to fold on, and the seq that it is of."""
        index = bisect_right(self.frames, seq, key=lambda frame: frame.seq)
        if not index:
            return 0, State()
        frame = self.frames[index - 1]
        return frame.seq, frame.state.copy()

    def add(self, seq: int, state: State) -> None:
        rows = sum(len(state.locks.tickets if table == "locks" else getattr(state, table)) for table in TABLES)
        self.frames.append(Frame(seq, state.copy(), rows))
        self.rows += rows

    def thin(self) -> None:
        """Give up every other keyframe, but not the last."""
        self.frames = self.frames[::-2][::-1]
        self.rows = sum(frame.rows for frame in self.frames)
        self.every *= 2


class History:
    """What a log says of its runs. The least recently asked for are forgotten first, and found again in the log."""

    def __init__(self, store: Store, *, every: int = EVERY, frames: int = FRAMES, rows: int = ROWS) -> None:
        self.store = store
        self._every, self._most, self._rows = every, frames, rows
        self._films: dict[str, Film] = {}  # the least recently asked for first

    def clear(self) -> None:
        """Forget all: the log may not be what it was."""
        self._films.clear()

    @property
    def rows(self) -> int:
        """How much is kept: rows of all keyframes together."""
        return sum(film.rows for film in self._films.values())

    async def state_at(self, run_id: str, seq: int | None = None) -> State:
        """The fold of a run's events up to `seq`; of all where that is None, or after the last. The caller's own.

        Raises NotFound: the log has no such run, or this is before its first event.
        """
        until = sys.maxsize if seq is None else max(0, min(seq, sys.maxsize))
        film = self._film(run_id)
        while film.lacks(until) and await self._grow(run_id, film):
            pass
        since, state = film.before(until)
        async for events in self.store.run_events(run_id, since=since, until=until):
            for event in events:
                apply(state, event)
        if not state.position:
            await self._refuse(run_id, seq)
        state.changed.clear()
        return state

    def _film(self, run_id: str) -> Film:
        film = self._films.pop(run_id, None) or Film(self._every)
        self._films[run_id] = film
        if len(self._films) > RUNS:
            del self._films[next(iter(self._films))]
        return film

    async def _grow(self, run_id: str, film: Film) -> bool:
        """Go on with a film. False: the log has not enough for one more keyframe."""
        async with film.growing:
            known = film.end
            at, state = film.before(known)
            async for events in self.store.run_events(run_id, since=at, until=at + STRIDE * film.every):
                for event in events:
                    apply(state, event)
                    at = event.seq
                    if at - film.end >= film.every:
                        film.add(at, state)
                        self._bound(film)
            return film.end > known

    def _bound(self, film: Film) -> None:
        """Forget what is too much, of this film last."""
        if len(film.frames) > self._most:
            film.thin()
        while self.rows > self._rows:
            oldest = next(iter(self._films))
            if self._films[oldest] is not film:
                del self._films[oldest]
            elif len(film.frames) > 1:
                film.thin()
            else:
                return

    async def _refuse(self, run_id: str, seq: int | None) -> NoReturn:
        async for _ in self.store.run_events(run_id, until=1):
            raise NotFound(f"The events of run {run_id!r} begin with 1, and so there is no {seq}.", run=run_id)
        raise NotFound(f"The log has no run {run_id!r}.", run=run_id)


async def logs(
    store: Store, run_id: str, agent_id: str, since: int = 0, tail: int | None = None
) -> tuple[list[str], int]:
    """The lines of an agent after seq `since` (the last `tail` of them), and the seq up to which the log was read."""
    lines: list[str] = []
    async for batch in store.run_events(run_id, since=since):
        lines += log_lines(batch, agent_id)
        since = batch[-1].seq
        if tail is not None and len(lines) > 4 * tail:
            lines = lines[-tail:] if tail else []
    return (lines[-tail:] if tail else []) if tail is not None else lines, since
