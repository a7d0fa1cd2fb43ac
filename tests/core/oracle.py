"""The lock table once more, as slow and as plain as it can be: the judge of `agentlab.core`.

It knows no tree, no index and no event. It has one line of requests in the order in which they are to be served; whatever
happens, it walks the line and grants every request that no earlier live request of somebody else conflicts with.
Written from the design alone; nothing of `agentlab` is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Region = tuple[str, ...]
"""What a unit covers: everything whose region begins with this."""

RANK = {"operator": 0, "normal": 1, "background": 2}
INCLUDES = {"S": "S", "SIX": ("S", "SIX"), "X": ("S", "SIX", "X")}


def region(unit: str, root: str) -> Region:
    kind, _, name = unit.partition(":")
    if kind in ("file", "dir", "notebook"):
        return ("disk", *(part for part in f"{root}/{name}".split("/") if part not in ("", ".")))
    return ("proc", root, name) if kind == "proc" else (kind, name)


def inside(inner: Region, outer: Region) -> bool:
    return inner[: len(outer)] == outer


def clash(mode: str, a: Region, other: str, b: Region) -> bool:
    """The textbook: S reads the whole subtree, X changes all of it, SIX reads all of it and changes parts."""
    if a == b:
        return not (mode == other == "S")
    if inside(b, a):
        return mode == "X" or other != "S"
    if inside(a, b):
        return other == "X" or mode != "S"
    return False


@dataclass(eq=False)
class Request:
    owner: str
    run: str
    root: str
    units: list[str]
    mode: str
    priority: str = "normal"
    ttl: float = 60.0
    ticket: int = 0  # what the judged side calls it
    held: bool = False
    bypassed: int = 0

    def regions(self) -> list[Region]:
        return [region(unit, self.root) for unit in self.units]

    def conflicts(self, other: Request) -> bool:
        return self.owner != other.owner and any(
            clash(self.mode, a, other.mode, b) for a in self.regions() for b in other.regions()
        )


@dataclass
class Oracle:
    bypass: int = 8
    pause_hold: float = 1800.0
    now: float = 0.0
    line: list[Request] = field(default_factory=list)  # all live requests, in effective order
    seen: dict[str, float] = field(default_factory=dict)
    paused: dict[str, float] = field(default_factory=dict)  # owner -> since

    # --- asking ------------------------------------------------------------------------------------------------

    def held_by(self, owner: str) -> list[Request]:
        return [r for r in self.line if r.owner == owner and r.held]

    def waiting(self) -> list[Request]:
        return [r for r in self.line if not r.held]

    def wait_of(self, owner: str) -> Request | None:
        return next((r for r in self.waiting() if r.owner == owner), None)

    def in_the_way(self, request: Request, at: int) -> list[Request]:
        """Holders anywhere, and waiting ones before place `at` of the line."""
        return [r for i, r in enumerate(self.line) if r is not request and r.conflicts(request) and (r.held or i < at)]

    def behind(self, request: Request) -> list[Request]:
        return self.in_the_way(request, self.line.index(request))

    # --- what can be asked -------------------------------------------------------------------------------------

    def claim(
        self, owner: str, run: str, root: str, units: Iterable[str], mode: str, *, priority: str = "normal",
        ttl: float = 60.0, yields: bool = False, wait: bool = True,
    ) -> tuple[str, Request | None]:  # fmt: skip
        """granted | queued | busy (it waits for something else) | already | blocked; and the request that now stands."""
        new = Request(owner, run, root, list(dict.fromkeys(units)), mode, priority, ttl)
        if (waits := self.wait_of(owner)) is not None:
            same = set(waits.units) == set(new.units) and waits.mode == mode
            again = yields and set(new.units) <= set(waits.units)
            return ("queued", waits) if waits.run == run and (same or again) else ("busy", waits)
        held = self.held_by(owner)
        for old in held:
            for had in old.regions():
                for want in new.regions():
                    if want == had or (inside(want, had) and mode in INCLUDES[old.mode]):
                        return "already", old

        place = len(self.line)
        passed: list[Request] = []
        for at in reversed(range(len(self.line))):
            other = self.line[at]
            if other.held or not other.conflicts(new):
                continue
            if RANK[other.priority] <= RANK[priority] or other.bypassed >= self.bypass:
                break
            passed.append(other)
            place = at
        if self.in_the_way(new, place) and (held or not wait):
            if not (yields and wait) or any(old.run != run for old in held):
                return "blocked", None
            return self._yield(new, held)
        for other in passed:
            other.bypassed += 1
        self.line.insert(place, new)
        self._serve()
        return ("granted" if new.held else "queued"), new

    def _yield(self, new: Request, held: list[Request]) -> tuple[str, Request]:
        place = self.line.index(held[0])
        new.ticket = held[0].ticket
        if any(old.mode != new.mode for old in held):
            new.mode = "X"
        new.units = list(dict.fromkeys([unit for old in held for unit in old.units] + new.units))
        self.line[place] = new
        self.line = [r for r in self.line if r not in held]
        self._serve()
        return ("granted" if new.held else "queued"), new

    def release(self, owner: str, tickets: Iterable[int] = (), units: Iterable[str] = ()) -> None:
        tickets, units = set(tickets), set(units)
        for request in list(self.line):
            if request.owner != owner or (tickets and request.ticket not in tickets):
                continue
            left = [unit for unit in request.units if units and unit not in units]
            if len(left) == len(request.units):
                continue
            if left and request.held:
                request.units = left
            else:
                self.line.remove(request)
        self._serve()

    def gone(self, owner: str) -> None:
        self.line = [r for r in self.line if r.owner != owner]
        self.seen.pop(owner, None)
        self.paused.pop(owner, None)
        self._serve()

    def close(self, run: str) -> None:
        """A run without agents ends: what people hold and want in it is over."""
        self.line = [r for r in self.line if r.run != run]
        self._serve()

    def bump(self, request: Request) -> None:
        """Before all the waiting ones that it conflicts with."""
        rivals = [r for r in self.waiting() if r.conflicts(request)]
        if rivals and self.line.index(rivals[0]) < self.line.index(request):
            self.line.remove(request)
            self.line.insert(self.line.index(rivals[0]), request)
        self._serve()

    def renew(self, owner: str) -> None:
        self.seen[owner] = self.now

    def pause(self, owner: str) -> None:
        self.paused.setdefault(owner, self.now)

    def resume(self, owner: str) -> None:
        self.paused.pop(owner, None)

    def tick(self, agents: Iterable[str]) -> None:
        """First the leases, all at once; then whoever was paused for too long, one after the other."""
        lapsed = [r for r in self.line if r.held and self.seen[r.owner] + r.ttl <= self.now]
        self.line = [r for r in self.line if r not in lapsed]
        self._serve()
        for owner in agents:
            if self.now - self.paused.get(owner, self.now) > self.pause_hold:
                self.line = [r for r in self.line if not (r.held and r.owner == owner)]
                self._serve()

    def restart(self) -> None:
        for request in self.line:
            if request.held:
                self.seen[request.owner] = self.now
        self.paused = dict.fromkeys(self.paused, self.now)

    def _serve(self) -> None:
        for at, request in enumerate(self.line):
            if not request.held and not self.in_the_way(request, at):
                request.held = True
                self.seen[request.owner] = self.now  # a grant is a sign of life
