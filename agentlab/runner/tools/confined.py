"""What a sandboxed command's end and words mean to the agent."""

from __future__ import annotations

import re
import signal
from dataclasses import replace

from agentlab.errors import Unavailable
from agentlab.processes import Exit
from agentlab.sandbox import Sandbox

_SHELL = 128  # + its number: how bubblewrap, like a shell, tells of a signal
_SIGNALS = frozenset(int(number) for number in signal.Signals) - {signal.SIGHUP}  # git says 129 to wrong usage
_REFUSED = re.compile(r"Read-only file system|Device or resource busy|EROFS|EBUSY|readonly database")
_DENIED = re.compile(
    r"Permission denied|EACCES|EPERM|[Ii]nvalid cross-device link|EXDEV|File exists|EEXIST|readonly database"
)


def exit_of(exit: Exit) -> Exit:
    """How the command ended, from how bubblewrap did."""
    if exit.code is None or exit.code - _SHELL not in _SIGNALS:
        return exit
    return replace(exit, code=None, signal=exit.code - _SHELL)


def refused(sandbox: Sandbox, *streams: str) -> bool:
    """Whether the sandbox refused a write, or may have."""
    return any((_REFUSED if sandbox.seals else _DENIED).search(stream) for stream in streams)


def hint(sandbox: Sandbox, *streams: str) -> str:
    """What to do about a write that the sandbox refused, or may have. "": none was."""
    if not refused(sandbox, *streams):
        return ""
    if not sandbox.seals:
        return (
            "If a write was denied: a command can write only what it declares and what you hold. Run it again and declare "
            "that: run(..., writes=['build/']) for a folder, writes=['notes.txt'] for a file. A file is opened alone, to be "
            "written in place: to replace it by renaming (sed -i), to delete it or to write beside it, declare its folder. What "
            "you declare and is not there is made for you, empty. Outside of the workspace a command can write only "
            "below $TMPDIR, which is your own; /tmp is not."
        )
    return (
        "The workspace is read-only for a command, but for what it declares to write and what you hold. Run it again and "
        "declare that: run(..., writes=['build/']) for a folder, writes=['notes.txt'] for a file. Outside of the "
        "workspace it may write only below $TMPDIR, which is your own."
    )


def check_started(sandbox: Sandbox, exit: Exit, stderr: str) -> None:
    """Raises Unavailable: there was no sandbox, so there was no command either."""
    if exit.code == 1 and stderr.startswith(sandbox.mark) and stderr.count("\n") <= 1:
        said = stderr.removeprefix(sandbox.mark).strip()
        below = " A program or folder below /tmp is not seen there: /tmp is the agent's own." if sandbox.seals else ""
        raise Unavailable(f"The command was not run: its sandbox could not be made ({said}).{below}")
