"""A plane with a scripted model beside it, for benchmarks with agents: all of it in a folder that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import agentlab
from agentlab import discovery
from agentlab.testing.scripted_model import ScriptedModel

from . import vendors
from .vendors import Vendor


@dataclass(frozen=True)
class House:
    """place: of everything. The plane's home is `place / "home"`."""

    place: Path
    lab: agentlab.Lab
    model: ScriptedModel

    def vendor(self, kind: str) -> Vendor | str:
        """A vendor's program that asks our model, or why it is left out."""
        return vendors.vendor(kind, self.model, self.place / "users" / kind)

    def workspace(self, name: str) -> Path:
        """An empty one."""
        root = self.place / "work" / name
        root.mkdir(parents=True)
        return root


@contextmanager
def house(config: str = "") -> Iterator[House]:
    """config: the plane's config.toml."""
    with tempfile.TemporaryDirectory(prefix="agentlab-bench-") as folder, ScriptedModel() as model:
        place = Path(folder).resolve()
        home = place / "home"
        home.mkdir(0o700)
        (home / "config.toml").write_text(config)
        lab = agentlab.connect(home)
        try:
            yield House(place, lab, model)
        finally:
            lab.close()
            discovery.stop(home, force=True)
