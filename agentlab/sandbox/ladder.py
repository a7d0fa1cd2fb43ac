"""Which sandbox there is: bubblewrap, else Landlock, else none. Each is tried for real."""

from __future__ import annotations

from pathlib import Path

from agentlab.config import Confinement
from agentlab.errors import Unavailable

from . import bubblewrap, landlock
from .base import Sandbox, notebooks
from .bubblewrap import Bubblewrap
from .landlock import Landlock


def choose(wanted: Confinement, home: Path, root: Path) -> tuple[Sandbox | None, str]:
    """The sandbox that the settings ask for in this workspace, and why it is not the first of the ladder. Hidden are agentlab's
    home, and what opens the user's notebooks.

    Raises Unavailable: it was asked for by name, or it was asked for commands without network, and cannot be had.
    """
    where, network = f"in {home}/config.toml", wanted.reaches == "all"
    hidden, private = (home.resolve(),), notebooks()
    if wanted.mode == "none":
        if not network:
            said = f'[sandbox] network = "{wanted.reaches}" {where} needs a sandbox, and mode = "none" has none.'
            raise Unavailable(said)
        return None, "switched off in config.toml"
    extra = tuple(Path(path).expanduser().resolve() for path in wanted.writable)
    reasons: list[str] = []
    for rung in ("bubblewrap", "landlock") if wanted.mode == "auto" else (wanted.mode,):
        try:
            if rung == "bubblewrap":
                program = bubblewrap.probe_once(home, root)
                return Bubblewrap(program=program, hidden=hidden, private=private, extra=extra, network=network), ""
            landlock.probe(network=network)
            return Landlock(hidden=hidden, private=private, extra=extra, network=network), " ".join(reasons)
        except Unavailable as error:
            reasons.append(str(error))
    why = " ".join(reasons)
    if wanted.mode != "auto":
        raise Unavailable(f'[sandbox] mode = "{wanted.mode}" {where}: {why}')
    if not network:
        raise Unavailable(f'[sandbox] network = "{wanted.reaches}" {where}, and no sandbox can do that: {why}')
    return None, why
