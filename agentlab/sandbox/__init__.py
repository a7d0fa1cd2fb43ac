"""Sandboxes for commands: all can be read but what is hidden, and only what was opened can be written.

`choose` does what the settings say; `probe_bubblewrap` and `probe_landlock` try one for real.
"""

from .base import Door, Needs, Opened, Sandbox, variables
from .bubblewrap import Bubblewrap
from .bubblewrap import probe as probe_bubblewrap
from .ladder import choose
from .landlock import Landlock
from .landlock import probe as probe_landlock
from .landlock_exec import MADE

__all__ = [
    "MADE",
    "Bubblewrap",
    "Door",
    "Landlock",
    "Needs",
    "Opened",
    "Sandbox",
    "choose",
    "probe_bubblewrap",
    "probe_landlock",
    "variables",
]
