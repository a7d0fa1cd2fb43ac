"""How a runtime is, told from its last sign of life. Times are seconds on one clock."""

from __future__ import annotations

from typing import Literal

Health = Literal["online", "recently_lost", "offline", "about_to_gc"]

ORDER: tuple[Health, ...] = ("online", "recently_lost", "offline", "about_to_gc")
"""Time alone moves a runtime only to the right; a heartbeat brings it back."""


def bucket(
    online: bool,
    last_seen: float,
    now: float,
    *,
    offline: float,
    recently_lost: float,
    gc_soon: float,
) -> Health:
    """`online`: nobody has said that it left. `offline`: s of silence until it counts as lost anyway;
    `recently_lost`, `gc_soon`: s since then. A runtime that said goodbye is recently lost at once."""
    lost_for = now - last_seen - offline
    if lost_for < 0 and online:
        return "online"
    if lost_for < recently_lost:
        return "recently_lost"
    return "offline" if lost_for < gc_soon else "about_to_gc"


def forgettable(last_seen: float, now: float, *, offline: float, gc: float) -> bool:
    """It has been lost for so long (`gc` s) that it is removed, if no agent is bound to it."""
    return now - last_seen - offline >= gc
