"""Where Gemini CLI keeps a conversation, so that another process finds it: in a folder of its own, which outlives the agent.

Gemini CLI looks for sessions in the home it is told, which ends with its agent. And before it looks it begins the file of the
session that it is to load, named by its id and the minute: within one minute that is the file of the conversation itself,
which then reads as empty. It is given another name first, and a new folder: who kept its own tools may have left links in
the old one, by which another program would write what it cannot.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final
from uuid import UUID

_HEAD: Final = 65_536  # bytes in which a conversation says whose it is


def conversation(shared: Path, session: str | None) -> Path:
    """A folder with the conversation of this session. Empty, where there is none, or it is not there any more: then the program
    says so."""
    kept = shared / "chats"
    kept.mkdir(mode=0o700, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=kept))
    if session is not None and (found := _found(kept, session)):
        moved = found.rename(folder / f"session-0-{session[:8]}.jsonl")
        if moved.is_symlink() or _whose(moved) != session:
            moved.unlink()
    return folder


def link(home: Path, start: Path, folder: Path) -> None:
    """Let a program of this home, that starts there, keep its conversations in this folder."""
    chats = home / ".gemini" / "tmp" / start.name / "chats"
    chats.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    chats.unlink(missing_ok=True)
    chats.symlink_to(folder)


def _found(kept: Path, session: str) -> Path | None:
    """The file of a conversation: the one with our name, where it was gone on in before. The others of its name are empty."""
    try:
        UUID(session)
    except ValueError:
        return None
    named = sorted(kept.glob(f"*/session-*-{session[:8]}.jsonl"), key=lambda path: path.name)
    return next((path for path in named if not path.is_symlink() and path.is_file() and _whose(path) == session), None)


def _whose(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.readline(_HEAD)
    try:
        said = json.loads(head)
    except (ValueError, RecursionError):
        return None
    return said.get("sessionId") if isinstance(said, dict) else None
