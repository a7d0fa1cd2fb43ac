from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from logs import opened

from agentlab.store.base import Store
from agentlab.store.memory import MemoryStore
from agentlab.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "log.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        yield store


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Store]:
    """Each store that there is, open and empty."""
    store: Store = SqliteStore(path) if request.param == "sqlite" else MemoryStore()
    await store.open()
    yield store
    await store.close()
