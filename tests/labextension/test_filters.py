"""What the filter of the run console finds is found by the code that it inserts, in the log of a real plane.

`labextension/tests/console/filters.json` says what that is, by hand; `filtered.json` beside it is what `src/console/code.ts` makes of
each filter. `filters.test.ts` beside them holds the browser's side to both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from cells import GOLDEN, value_of

from agentlab import discovery
from agentlab.core.events import Event
from agentlab.store.base import Batch
from agentlab.store.sqlite import SqliteStore

FILTERS: dict[str, Any] = json.loads((GOLDEN / "filters.json").read_text())
CODES: dict[str, str] = json.loads((GOLDEN / "filtered.json").read_text())
CASES: dict[str, list[int]] = {case["of"]: case["seqs"] for case in FILTERS["cases"]}

T0 = 1_800_000_000_000_000_000  # ns since the epoch


async def written(path: Path) -> None:
    """A log of these events. Nobody is '' there: it has no column without an actor."""
    events = [
        msgspec.convert(
            event | {"id": event["seq"], "run_id": "golden", "ts": T0, "actor": event["actor"] or ""}, Event
        )
        for event in FILTERS["events"]
    ]
    store = SqliteStore(path)
    await store.open()
    try:
        await store.append(Batch(events))
    finally:
        await store.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose log has the run of the cases, and no plane yet."""
    home = tmp_path_factory.mktemp("filters") / "home"
    home.mkdir(mode=0o700)
    asyncio.run(written(home / "agentlab.db"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTLAB_HOME", str(home))
        patch.delenv("AGENTLAB_URL", raising=False)
        try:
            yield home
        finally:
            discovery.stop(home, force=True)


@pytest.mark.parametrize("of", CASES)
def test_the_code_of_a_filter_finds_what_the_filter_does(home: Path, of: str) -> None:
    frame = value_of(CODES[of])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["seq"]) == CASES[of]


def test_there_is_a_code_of_each_filter() -> None:
    assert set(CODES) == set(CASES)
