"""The history of locks: one row for each time that a ticket asked, waited, held and ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct, field

from .kinds import Columns, Kind
from .stories import KEYS, Reading, Record, Step

LOCKS: Columns = {
    **KEYS,
    "ticket": Kind.COUNT,
    "unit": Kind.CATEGORY,
    "units": Kind.TEXTS,
    "mode": Kind.CATEGORY,
    "owner": Kind.CATEGORY,
    "implicit": Kind.FLAG,
    "priority": Kind.CATEGORY,
    "status": Kind.CATEGORY,
    "reason": Kind.TEXT,
    "requested": Kind.TIME,
    "granted": Kind.TIME,
    "released": Kind.TIME,
    "wait": Kind.SPAN,
    "hold": Kind.SPAN,
    "queue_depth": Kind.NUMBER,
    "behind": Kind.TEXTS,
    "token": Kind.COUNT,
}


class _Blocker(Struct):
    owner: str = ""
    ticket: int = 0


class _Lock(Struct):
    ticket: int = 0
    owner: str = ""
    units: tuple[str, ...] = ()
    mode: str = ""
    token: int | None = None
    implicit: bool = False
    priority: str = "normal"
    behind: tuple[_Blocker, ...] = ()
    reason: str = ""


class Lease(Struct):
    """What became of one claim. Times are ns since the epoch; `rest`: the units that are not given back yet.

    status: waiting, held, released, expired, cancelled (the wait was given up), denied.
    """

    first: Step
    asked: _Lock
    status: str
    granted: int | None = None
    released: int | None = None
    token: int | None = None
    reason: str = ""
    rest: set[str] = field(default_factory=set)

    @property
    def behind(self) -> list[str]:
        """The owners who were in the way when it asked, holders first."""
        return list(dict.fromkeys(b.owner for b in self.asked.behind))

    @property
    def queue_depth(self) -> int:
        """How many tickets were in the way when it asked: held ones, and those that waited ahead."""
        return len({b.ticket for b in self.asked.behind})

    @property
    def wait(self) -> int | None:
        """ns in the queue: until it was granted or given up. None: it waits, or was refused at once."""
        until = self.granted if self.granted is not None else self.released
        return None if until is None else until - self.first.ts

    @property
    def hold(self) -> int | None:
        """ns until the last of its units was given back. None: it is held, or never was."""
        return None if self.granted is None or self.released is None else self.released - self.granted


_lock = msgspec.json.Decoder(_Lock)

_ENDS = {"lock.release": "released", "lock.expire": "expired"}


def leases(steps: Iterable[Step], reading: Reading) -> list[Lease]:
    """The leases of some `lock.*` events, in the order of their requests.

    A ticket may come twice: one that yields is released, and asks again with its old number.
    """
    told: list[Lease] = []
    live: dict[tuple[str, int], Lease] = {}

    def begin(step: Step, body: _Lock, status: str) -> Lease:
        lease = Lease(step, body, status, rest=set(body.units))
        told.append(lease)
        return lease

    for step in steps:
        body = reading.body(step, _lock)
        key = (step.run_id, body.ticket)
        if step.type == "lock.deny":
            begin(step, body, "denied").reason = body.reason
        elif step.type == "lock.request":
            if key not in live:
                live[key] = begin(step, body, "waiting")
        elif step.type == "lock.grant":
            lease = live.get(key) or live.setdefault(key, begin(step, body, "held"))
            lease.status, lease.granted, lease.token = "held", step.ts, body.token
        elif (ending := live.get(key)) is not None:
            ending.rest -= set(body.units)
            if not ending.rest or ending.granted is None:
                ending.status = _ENDS[step.type] if ending.granted is not None else "cancelled"
                ending.released, ending.reason = step.ts, body.reason
                del live[key]
    return told


def locks(steps: Iterable[Step], reading: Reading) -> Iterator[Record]:
    return (_record(lease) for lease in leases(steps, reading) if lease.first.wanted)


def _record(lease: Lease) -> Record:
    first, asked = lease.first, lease.asked
    return (
        *first.keys, asked.ticket or None, first.unit or ", ".join(asked.units), asked.units, asked.mode, asked.owner,
        asked.implicit, asked.priority, lease.status, lease.reason or None, first.ts, lease.granted, lease.released,
        lease.wait, lease.hold, lease.queue_depth, lease.behind, lease.token,
    )  # fmt: skip
