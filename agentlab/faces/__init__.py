"""One command table for the command line and the notebook: `verbs` says what can be done, each face shows what comes back."""

from __future__ import annotations
