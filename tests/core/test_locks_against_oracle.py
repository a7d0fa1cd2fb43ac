"""Whatever agents do, in whatever order, the lock table grants what the brute-force oracle grants."""

from __future__ import annotations

import pytest
from duel import AGENTS, MODES, PRIORITIES, UNITS, Duel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from oracle import Request

some_units = st.lists(st.sampled_from(UNITS), min_size=1, max_size=3, unique=True).map(tuple)
modes = st.sampled_from(MODES)
often_false = st.sampled_from((False, False, False, True))


class Locks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.duel = Duel()

    def _owner(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.duel.owners()), "owner")

    def _run(self, data: st.DataObject, owner: str) -> str:
        return data.draw(st.sampled_from(self.duel.runs_of(owner)), "run")

    @rule(data=st.data(), units=some_units, mode=modes, yields=often_false, dont_wait=often_false)
    def claim(self, data: st.DataObject, units: tuple[str, ...], mode: str, yields: bool, dont_wait: bool) -> None:
        owner = self._owner(data)
        priority = data.draw(st.sampled_from(PRIORITIES), "priority")
        ttl = data.draw(st.sampled_from((10.0, 60.0)), "ttl")
        self.duel.claim(
            owner, self._run(data, owner), units, mode, priority=priority, ttl=ttl, yields=yields, wait=not dont_wait
        )

    @rule(data=st.data(), mode=modes)
    def claim_one(self, data: st.DataObject, mode: str) -> None:
        owner = self._owner(data)
        unit = data.draw(st.sampled_from(UNITS[:8]), "unit")
        self.duel.claim(owner, self._run(data, owner), (unit,), mode)

    @precondition(lambda self: self.duel.oracle.line)
    @rule(data=st.data())
    def claim_more_and_yield(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from([r.owner for r in self.duel.oracle.line]), "owner")
        units = data.draw(some_units, "units")
        self.duel.claim(owner, self._run(data, owner), units, data.draw(modes, "mode"), yields=True)

    @rule(data=st.data())
    def release_all(self, data: st.DataObject) -> None:
        self.duel.release(self._owner(data))

    def _request(self, data: st.DataObject) -> Request:
        return data.draw(st.sampled_from(self.duel.oracle.line), "request")

    @precondition(lambda self: self.duel.oracle.line)
    @rule(data=st.data())
    def release_a_ticket(self, data: st.DataObject) -> None:
        request = self._request(data)
        self.duel.release(request.owner, (request.ticket,))

    @precondition(lambda self: self.duel.oracle.line)
    @rule(data=st.data())
    def release_some_units(self, data: st.DataObject) -> None:
        request = self._request(data)
        units = data.draw(st.lists(st.sampled_from(request.units), min_size=1, unique=True).map(tuple), "units")
        tickets = data.draw(st.sampled_from(((), (request.ticket,))), "tickets")
        self.duel.release(request.owner, tickets, units)

    @rule(seconds=st.sampled_from((3.0, 9.0, 25.0, 70.0, 120.0)), ticks=st.booleans())
    def advance(self, seconds: float, ticks: bool) -> None:
        self.duel.advance(seconds)
        if ticks:
            self.duel.tick()

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.duel.renew(self._owner(data))

    @rule(place=st.sampled_from(AGENTS))
    def respawn(self, place: str) -> None:
        self.duel.respawn(place)

    @rule(place=st.sampled_from(AGENTS))
    def pause(self, place: str) -> None:
        self.duel.pause(self.duel.names[place])

    @rule(place=st.sampled_from(AGENTS))
    def resume(self, place: str) -> None:
        self.duel.resume(self.duel.names[place])

    @precondition(lambda self: self.duel.oracle.waiting())
    @rule(data=st.data())
    def bump(self, data: st.DataObject) -> None:
        self.duel.bump(data.draw(st.sampled_from(self.duel.oracle.waiting()), "request"))

    @rule(run=st.sampled_from(("p", "q")))
    def close_a_run_of_people(self, run: str) -> None:
        self.duel.close(run)

    @rule()
    def restart(self) -> None:
        self.duel.restart()

    @rule(data=st.data(), units=some_units)
    def ask_what_others_touched(self, data: st.DataObject, units: tuple[str, ...]) -> None:
        owner = self._owner(data)
        since = data.draw(st.integers(0, self.duel.world.state.position), "since")
        self.duel.touched(owner, self._run(data, owner), units, since)


TestLocks = pytest.mark.timeout(600)(Locks.TestCase)  # to make a failure small may take five minutes
TestLocks.settings = settings(settings.get_profile("ci"), max_examples=400, stateful_step_count=40)
