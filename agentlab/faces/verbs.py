"""What can be done: each command once, with its options and help, for the command line and for `%agent`.

A verb returns a value (`faces.values`, a handle, a hold) and prints nothing.
"""

from __future__ import annotations

from . import agent_verbs, lab_verbs  # noqa: F401 - they enter the table in this order
from .verb import VERBS

__all__ = ["VERBS"]
