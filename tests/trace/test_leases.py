from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_log import SECOND, T0, Recorder

from agentlab.core.events import Blocker, LockDeny, LockExpire, LockGrant, LockRelease, LockRequest, Mode
from agentlab.trace.frames import locks_df

UNITS = ("file:a", "file:b", "dir:src", "proc:test")


@dataclass
class Story:
    """What is true of one lease, noted while its events are made."""

    ticket: int
    units: tuple[str, ...]
    asked: int
    ahead: int = 0
    granted: int | None = None
    ended: int | None = None
    status: str = "waiting"
    token: int | None = None
    left: set[str] = field(default_factory=set)


class Life:
    """Random but possible histories of tickets, with clocks that may go backwards."""

    def __init__(self, log: Recorder, draw: st.DrawFn) -> None:
        self.log, self.draw, self.now = log, draw, T0
        self.live: list[Story] = []
        self.told: list[Story] = []

    def step(self) -> None:
        self.now += self.draw(st.integers(-2, 9)) * SECOND // 2
        ways = [self.ask, self.get, self.refuse]
        if self.live:
            ways += [self.grant, self.give_back, self.expire, self.yield_]
        self.draw(st.sampled_from(ways))()

    def _units(self) -> tuple[str, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(UNITS), min_size=1, max_size=3, unique=True)))

    def _begin(self, ticket: int, status: str) -> Story:
        story = Story(ticket, self._units(), self.now, status=status)
        story.left = set(story.units)
        self.told.append(story)
        return story

    def ask(self, ticket: int | None = None) -> None:
        story = self._begin(ticket or len(self.log.events) + 1, "waiting")
        blockers = tuple(Blocker(owner=f"r1/{t.ticket}", unit="file:a", ticket=t.ticket) for t in self.live)
        story.ahead = len(blockers)
        self.live.append(story)
        body = LockRequest(
            ticket=story.ticket, owner="r1/a", units=story.units, mode=Mode.EXCLUSIVE, key=(1, 0), behind=blockers
        )
        self.log.event(body, ts=self.now)

    def get(self) -> None:
        story = self._begin(len(self.log.events) + 1, "held")
        self.live.append(story)
        self._granted(story)

    def grant(self) -> None:
        waiting = [t for t in self.live if t.granted is None]
        if waiting:
            self._granted(self.draw(st.sampled_from(waiting)))

    def _granted(self, story: Story) -> None:
        story.granted, story.token, story.status = self.now, len(self.log.events) + 1, "held"
        body = LockGrant(ticket=story.ticket, owner="r1/a", units=story.units, mode=Mode.EXCLUSIVE, token=story.token)
        self.log.event(body, ts=self.now)

    def refuse(self) -> None:
        story = self._begin(0, "denied")
        body = LockDeny(owner="r1/a", units=story.units, mode=Mode.SHARED, reason="held")
        self.log.event(body, ts=self.now)

    def give_back(self) -> None:
        story = self.draw(st.sampled_from(self.live))
        units = sorted(story.left)
        if story.granted is not None:
            units = self.draw(st.lists(st.sampled_from(units), min_size=1, unique=True))
        story.left -= set(units)
        if not story.left:
            self._ended(story, "released" if story.granted is not None else "cancelled")
        self.log.event(LockRelease(ticket=story.ticket, owner="r1/a", units=tuple(units)), ts=self.now)

    def expire(self) -> None:
        held = [t for t in self.live if t.granted is not None]
        if held:
            story = self.draw(st.sampled_from(held))
            self._ended(story, "expired")
            self.log.event(LockExpire(ticket=story.ticket, owner="r1/a", units=tuple(story.left)), ts=self.now)

    def yield_(self) -> None:
        """Everything is given back, and the same ticket asks again."""
        story = self.draw(st.sampled_from(self.live))
        if story.granted is not None:
            self._ended(story, "released")
            body = LockRelease(ticket=story.ticket, owner="r1/a", units=tuple(story.left), reason="yield")
            self.log.event(body, ts=self.now)
            self.ask(story.ticket)

    def _ended(self, story: Story, status: str) -> None:
        story.ended, story.status = self.now, status
        self.live.remove(story)


def ns(span: pd.Timedelta) -> int | None:
    return None if pd.isna(span) else span.value


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_waits_and_holds_are_those_of_the_events(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Recorder(Path(folder) / "log.db")
        life = Life(log, data.draw)  # type: ignore[arg-type]
        for _ in range(data.draw(st.integers(1, 40))):
            life.step()
        frame = locks_df(log.save())
    assert len(frame) == len(life.told)
    for row, story in zip(frame.to_dict("records"), life.told, strict=True):
        assert (tuple(row["units"]), row["status"], row["queue_depth"]) == (story.units, story.status, story.ahead)
        assert (None if pd.isna(row["token"]) else row["token"]) == story.token
        if story.status == "denied":
            assert pd.isna(row["wait"]) and pd.isna(row["hold"])
            continue
        until = story.granted if story.granted is not None else story.ended
        assert ns(row["wait"]) == (None if until is None else until - story.asked)
        held = story.granted is not None and story.ended is not None
        assert ns(row["hold"]) == (story.ended - story.granted if held else None)


def test_a_lease_says_behind_whom_it_waited(log: Recorder) -> None:
    behind = (
        Blocker(owner="r1/b", unit="file:a", ticket=1),
        Blocker(owner="r1/b", unit="file:a", ticket=2),
        Blocker(owner="r1/c", unit="file:a", ticket=3, waits=True),
    )
    log.event(LockRequest(ticket=9, owner="r1/a", units=("file:a",), mode=Mode.SHARED, key=(9, 0), behind=behind))
    frame = locks_df(log.save())
    assert list(frame["behind"][0]) == ["r1/b", "r1/c"] and frame["queue_depth"][0] == 3


def test_a_lease_is_chosen_by_its_request_and_told_to_its_end(log: Recorder) -> None:
    for ticket in (1, 2):
        log.event(
            LockRequest(ticket=ticket, owner="r1/a", units=("file:a",), mode=Mode.SHARED, key=(ticket, 0)),
            actor=f"a{ticket}", unit="file:a",
        )  # fmt: skip
        log.event(LockGrant(ticket=ticket, owner="r1/a", units=("file:a",), mode=Mode.SHARED, token=ticket))
    log.event(LockRelease(ticket=2, owner="r1/a", units=("file:a",), reason="end"))
    frame = locks_df(log.save(), where="actor = ?", params=["a2"])
    assert list(frame["status"]) == ["released"] and frame["hold"][0] == pd.Timedelta(1, "s")
    assert list(locks_df(log.path, since=2)["ticket"]) == [2]
