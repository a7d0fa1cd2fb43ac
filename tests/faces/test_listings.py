"""Which of several things a few letters mean."""

from __future__ import annotations

import time

import pytest

from agentlab.errors import BadRequest
from agentlab.faces.listings import approval_named, approvals


def rows(**statuses: str) -> dict[str, dict[str, dict[str, str]]]:
    named = {id.replace("_", "-"): status for id, status in statuses.items()}
    return {
        "approvals": {id: {"status": status, "question": f"{id}?", "agent": "r1/ann"} for id, status in named.items()}
    }


def test_a_question_is_named_by_a_beginning_that_no_other_open_one_has() -> None:
    tables = rows(ann_ce34="asked", ann_cf12="asked", ann_ce99="denied")
    assert approval_named(tables, "ann-ce") == "ann-ce34"
    assert approval_named(tables, "ann-ce99") == "ann-ce99"
    with pytest.raises(BadRequest, match="begins several open questions: ann-ce34, ann-cf12"):
        approval_named(tables, "ann-c")
    assert approval_named(tables, "bob") == "bob", "there is none: whoever is asked says so"


@pytest.mark.parametrize("name", ["ann", "ann-", "an"])
def test_whose_question_it_is_does_not_say_which(name: str) -> None:
    """The one that a person has seen may be answered by now, and this the next one, which nobody has seen."""
    with pytest.raises(BadRequest, match=r"not which one.*ann-cf12: ann-cf12\?"):
        approval_named(rows(ann_ce34="denied", ann_cf12="asked"), name)


def test_of_an_answered_question_a_beginning_is_enough_to_be_told_so() -> None:
    assert approval_named(rows(ann_ce34="denied", ann_cf12="asked"), "ann-ce") == "ann-ce34"


def test_a_question_with_a_limit_says_how_long_it_can_be_answered() -> None:
    row = {"approval": "q-1", "agent": "r/a", "question": "May it?", "status": "asked", "kind": "permission"}
    soon = {**row, "approval": "q-2", "expires": time.time_ns() + 300_000_000_000}
    past = {**soon, "approval": "q-3", "status": "denied"}
    said = approvals({"approvals": {one["approval"]: one for one in (row, soon, past)}}, every=True)
    at = said.columns.index("status")
    texts = [str(cells[at]) for cells in said.cells]
    assert (texts[0], texts[2]) == ("asked", "denied")
    assert texts[1].startswith("asked, ") and texts[1].endswith(" left")
