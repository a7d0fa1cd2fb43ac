"""The tools as methods, for Python: arguments as Python has them, and what the tools answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from agentlab.core.commands import Granted
from agentlab.core.events import JSON, Mode

from .door import Door
from .results import Change, Kept, Printed, Ran, Todos
from .texts import as_args

Names = list[str]  # the class below has a method `list`


class Methods:
    """Each call goes through the door, as one that a driver brings."""

    _door: Door

    async def read(self, path: str, start: int | None = None, end: int | None = None) -> str:
        """The text of a file; lines `start` to `end` (from 1, inclusive) where given."""
        return cast(str, await self._door.call("read", _given(path=path, start=start, end=end)))

    async def read_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file; from `start` up to but not including `end` where given."""
        return cast(bytes, await self._door.call("read_bytes", _given(path=path, start=start, end=end)))

    async def write(
        self, path: str, data: str | bytes, *, base: str | None = "auto", overwrite: bool = False
    ) -> Change:
        """Write a whole file. base: hash of what `data` was made from, None (it must not exist), or "auto": what this
        agent last saw. Raises StaleBase, NotHeld, WouldBlock, StaleToken, OutsideWorkspace."""
        args = {"path": path, **as_args(data, path)} | ({"overwrite": True} if overwrite else {})
        if base != "auto":
            args["base"] = base
        return cast(Change, await self._door.call("write", args))

    async def edit(self, path: str, old: str, new: str, *, all: bool = False) -> Change:
        """Replace `old`, which must be there exactly once unless `all`. Raises PatchFailed, and as `write`."""
        return cast(Change, await self._door.call("edit", {"path": path, "old": old, "new": new, "all": all}))

    async def multi_edit(self, path: str, edits: Iterable[Mapping[str, JSON]]) -> Change:
        """Several edits, {"old", "new"} and perhaps "all" each: all or none. Raises as `edit`, naming the first that fails."""
        return cast(
            Change, await self._door.call("multi_edit", {"path": path, "edits": [dict(edit) for edit in edits]})
        )

    async def patch(self, path: str, diff: str) -> Change:
        """Apply a unified diff. Raises PatchFailed, and as `write`."""
        return cast(Change, await self._door.call("patch", {"path": path, "diff": diff}))

    async def delete(self, path: str) -> Change:
        return cast(Change, await self._door.call("delete", {"path": path}))

    async def move(self, path: str, to: str) -> Change:
        return cast(Change, await self._door.call("move", {"path": path, "to": to}))

    async def list(self, path: str = ".", pattern: str | None = None) -> Names:
        return cast(Names, await self._door.call("list", _given(path=path, pattern=pattern)))

    async def glob(self, pattern: str, path: str = ".", **options: JSON) -> Names:
        """Files by name. options: sort ("name" | "newest"), limit, ignored (also what a `.gitignore` names)."""
        return cast(Names, await self._door.call("glob", _given(pattern=pattern, path=path, **options)))

    async def search(self, regex: str, path: str = ".", glob: str | None = None, **options: JSON) -> Names:
        """Lines that match. options: mode ("content" | "files" | "count"), context, ignore_case, limit, ignored."""
        return cast(Names, await self._door.call("search", _given(regex=regex, path=path, glob=glob, **options)))

    async def run(
        self,
        argv: Sequence[str] | str,
        *,
        writes: Iterable[str] = (),
        unit: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = ".",
        stdin: str | None = None,
    ) -> Ran:
        """Run a program to its end. A text is split like a shell would, but no shell is asked."""
        args = _given(
            argv=argv if isinstance(argv, str) else [*argv],
            writes=[*writes] or None,
            unit=unit,
            timeout=timeout,
            env=dict(env) if env else None,
            cwd=cwd,
            stdin=stdin,
        )
        return cast(Ran, await self._door.call("run", args))

    async def start(self, argv: Sequence[str] | str | None = None, **options: Any) -> Printed:
        """Start a program, or by `command` a shell, in the background. options: as of `run`. Raises as `run`, and Refused: there are too many."""
        args = _given(argv=argv if argv is None or isinstance(argv, str) else [*argv], background=True, **options)
        return cast(Printed, await self._door.call("run", args))

    async def output(self, id: str, since: int | None = None, wait: float = 0) -> Printed:
        """What a program in the background has printed since it was looked at last, or from a byte on; below 0: from the end.
        wait: s that it may have to end."""
        return cast(Printed, await self._door.call("output", _given(id=id, since=since, wait=wait)))

    async def stop(self, id: str) -> Printed:
        """End a program in the background, with all that it started."""
        return cast(Printed, await self._door.call("stop", {"id": id}))

    async def todo(self, items: Iterable[Mapping[str, str]]) -> Todos:
        """Replace the list of what is to be done: {"text", "status"} each."""
        return cast(Todos, await self._door.call("todo", {"items": [dict(item) for item in items]}))

    async def artifact(self, name: str, data: str | bytes, kind: str = "file") -> Kept:
        return cast(Kept, await self._door.call("artifact", {"name": name, "kind": kind, **as_args(data, name)}))

    async def claim(
        self,
        *units: str,
        mode: str | Mode = "exclusive",
        ttl: float | None = None,
        yields: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Granted:
        """Take units, all or none. mode: exclusive | shared."""
        named = {"X": "exclusive", "S": "shared"}.get(mode, mode)
        args = _given(units=[*units], mode=named, ttl=ttl, yields=yields, wait=wait, timeout=timeout)
        return cast(Granted, await self._door.call("claim", args))

    async def release(self, *units: str, ticket: int | None = None) -> None:
        """Give back units, a ticket, or everything."""
        await self._door.call("release", _given(units=[*units], ticket=ticket))

    async def plan(self, steps: Sequence[str], units: Sequence[str] = ()) -> None:
        await self._door.call("plan", {"steps": [*steps], "units": [*units]})

    async def ask(self, question: str, options: Sequence[str] = ()) -> str:
        return cast(str, await self._door.call("ask", {"question": question, "options": [*options]}))

    async def say(self, text: str) -> None:
        await self._door.call("say", {"text": text})


def _given(**args: JSON) -> dict[str, JSON]:
    return {key: value for key, value in args.items() if value is not None}
