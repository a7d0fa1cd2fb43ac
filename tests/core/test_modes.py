"""The modes against the textbook's tables."""

from __future__ import annotations

from itertools import product

import pytest

from agentlab.core import modes
from agentlab.core.events import Mode
from agentlab.core.modes import ABOVE, CONFLICTS, INDEX, IS, IX, SIX, S, X, includes, join, parse

ALL = (IS, IX, S, SIX, X)

COMPATIBLE = {
    (IS, IS), (IS, IX), (IS, S), (IS, SIX),
    (IX, IS), (IX, IX),
    (S, IS), (S, S),
    (SIX, IS),
}  # fmt: skip
"""Gray, Lorie, Putzolu and Traiger, table 1."""


@pytest.mark.parametrize(("a", "b"), list(product(ALL, ALL)))
def test_the_conflicts_are_those_of_the_textbook(a: int, b: int) -> None:
    assert (b not in CONFLICTS[a]) == ((a, b) in COMPATIBLE)


def test_a_conflict_is_mutual() -> None:
    assert all((b in CONFLICTS[a]) == (a in CONFLICTS[b]) for a, b in product(ALL, ALL))


def test_readers_announce_reading_above_them_and_writers_writing() -> None:
    assert [ABOVE[mode] for mode in (S, SIX, X)] == [IS, IX, IX]


def test_the_order_of_the_modes_is_that_of_what_they_allow() -> None:
    at_least = {(a, b) for a, b in product(ALL, ALL) if includes(a, b)}
    assert at_least == {
        (IS, IS), (IX, IX), (IX, IS), (S, S), (S, IS), (SIX, SIX), (SIX, S), (SIX, IX), (SIX, IS),
        (X, X), (X, SIX), (X, S), (X, IX), (X, IS),
    }  # fmt: skip


@pytest.mark.parametrize(("a", "b"), list(product(ALL, ALL)))
def test_a_join_is_the_weakest_mode_that_is_both(a: int, b: int) -> None:
    both = [mode for mode in ALL if includes(mode, a) and includes(mode, b)]
    assert join(a, b) == join(b, a)
    assert join(a, b) in both
    assert all(includes(mode, join(a, b)) for mode in both)


@pytest.mark.parametrize(("a", "b"), list(product(ALL, ALL)))
def test_a_join_conflicts_with_whatever_one_of_its_parts_conflicts_with(a: int, b: int) -> None:
    assert set(CONFLICTS[a]) | set(CONFLICTS[b]) == set(CONFLICTS[join(a, b)])


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("shared", Mode.SHARED), ("exclusive", Mode.EXCLUSIVE), ("shared_exclusive", Mode.SHARED_INTENT_EXCLUSIVE),
        ("S", Mode.SHARED), ("X", Mode.EXCLUSIVE), ("SIX", Mode.SHARED_INTENT_EXCLUSIVE),
    ],
)  # fmt: skip
def test_people_name_the_modes_in_words_or_letters(name: str, mode: Mode) -> None:
    assert parse(name) is mode


@pytest.mark.parametrize("name", ["IX", "IS", "write", "", "x", "Shared"])
def test_another_word_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no lock mode. Choose one of shared, exclusive, shared_exclusive"):
        parse(name)


def test_every_mode_has_an_index() -> None:
    assert sorted(INDEX.values()) == sorted(ALL)
    assert INDEX.keys() == set(Mode)
    assert set(modes.ASKABLE.values()) == {Mode.SHARED, Mode.EXCLUSIVE, Mode.SHARED_INTENT_EXCLUSIVE}
