"""What a sandboxed command's end and words mean to the agent."""

from __future__ import annotations

import re
import signal
from dataclasses import replace

from agentlab.errors import Unavailable
from agentlab.processes import Exit

_SHELL = 128  # + its number: how bubblewrap, like a shell, tells of a signal
_SIGNALS = frozenset(int(number) for number in signal.Signals) - {signal.SIGHUP}  # git says 129 to wrong usage
_REFUSED = re.compile(r"Read-only file system|Device or resource busy|EROFS|EBUSY|readonly database")
_MARK = "bwrap: "


def exit_of(exit: Exit) -> Exit:
    """How the command ended, from how its sandbox did."""
    if exit.code is None or exit.code - _SHELL not in _SIGNALS:
        return exit
    return replace(exit, code=None, signal=exit.code - _SHELL)


def hint(*streams: str) -> str:
    """What to do about a write that the sandbox refused. "": none was."""
    if not any(_REFUSED.search(stream) for stream in streams):
        return ""
    return (
        "The workspace is read-only for a command, but for what it declares to write and what you hold. Run it again and "
        "declare that: run(..., writes=['build/']) for a folder, writes=['notes.txt'] for a file. Outside of the "
        "workspace it may write only below $TMPDIR, which is your own."
    )


def check_started(exit: Exit, stderr: str) -> None:
    """Raises Unavailable: there was no sandbox, so there was no command either."""
    if exit.code == 1 and stderr.startswith(_MARK) and stderr.count("\n") <= 1:
        said = stderr.removeprefix(_MARK).strip()
        raise Unavailable(f"The command was not run: its sandbox could not be made ({said}). A program or folder below /tmp "
                          "is not seen there: /tmp is the agent's own.")  # fmt: skip
