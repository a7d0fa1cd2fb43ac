"""What an agent of any vendor is told about the others and about our tools. Pure."""

from __future__ import annotations

_SHARING = """\
You work in a workspace that other agents change at the same time. Its files and programs are reached by the tools of \
the server `lab` only ({lab}read, {lab}edit, {lab}run, ...); name paths relative to the workspace.

- Work that spans several files or steps: claim all its units first, in one call ({lab}claim with units such as \
file:src/a.py, dir:src or proc:test), and release them when done. A single edit or run takes what it needs by itself.
- Held by another agent? Wait by calling again (your place in the queue is kept), or do something else meanwhile. Never \
work around a lock.
- Tell {lab}run in `writes` what its command will change; everything else is read-only for it.
- A write that is refused as stale was made from an old version: read the file again and redo the change on what it says now."""


_NATIVE = """\
You work in a workspace that other agents change at the same time. What you do with your own tools waits until it is \
approved and what it changes is free, and may be refused. A command of your own may find the workspace read-only, or hold \
all of it: what has to write, build or test is run by the tool {lab}run, which takes the locks it needs and is told in \
`writes` what its command will change. The tools {lab}read, {lab}edit and their like wait for nobody but who holds the file.

- Work that spans several files or steps: claim all its units first, in one call ({lab}claim with units such as \
file:src/a.py, dir:src or proc:test), and release them when done ({lab}release).
- Refused because another agent holds it? Try again later, or do something else meanwhile. Never work around a lock."""


def instructions(prefix: str, own: str, boundary: str = "tools") -> str:
    """prefix: what the vendor puts before the names of our tools. own: of the agent's spec, after ours."""
    ours = (_NATIVE if boundary == "native" else _SHARING).format(lab=prefix)
    return f"{ours}\n\n{own}" if own else ours
