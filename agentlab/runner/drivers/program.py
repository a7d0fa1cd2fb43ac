"""A vendor's program beside its agent: found, started, and ended with everything that it started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentlab import processes
from agentlab.errors import Unavailable
from agentlab.runtimes import detect

from .base import Context
from .jsonrpc import JsonRpc, OnNotice, OnRequest
from .tree import Tree

MARK = "AGENTLAB_PROGRAM"
"""The variable by which its tree is known."""

GRACE = 2.0  # s between closing its input and TERM, and again until KILL


def find(name: str, env: Mapping[str, str], chosen: str | None = None) -> Path:
    """The program of a kind: `chosen`, else the one on PATH or in the usual places. Raises Unavailable, saying how to get it."""
    known = next((program for program in detect.KNOWN if program.name == name), detect.Program(name, name))
    if chosen is not None:
        if found := shutil.which(chosen, path=env.get("PATH")):
            return Path(found)
        raise Unavailable(
            f"There is no program at {chosen!r} (option cli). Correct it, or leave it out to use the one on PATH.",
            reason="missing",
        )
    path, _ = detect.find(known, detect.search_path(env))
    if path is None:
        how = f" Install it: `{known.install}`." if known.install else ""
        raise Unavailable(f"{known.command} is not installed here: not found on PATH.{how}", reason="missing")
    return path


def check_version(name: str, said: str | None, path: Path) -> None:
    """By what the program says of itself in its handshake. Raises Unavailable: too old for what we ask of it."""
    known = next((program for program in detect.KNOWN if program.name == name), None)
    version = detect.parse_version(said or "")
    if known is None or known.minimum is None or version is None:
        return
    if detect.older(version, known.minimum):
        raise Unavailable(
            f"{path} is {version}, too old: at least {known.minimum} is needed. Renew it: `{known.install}`",
            reason="version",
        )


def remembered(program: Path, shared: Path, what: str) -> Path:
    """Where something is kept for as long as the program is the same file. Raises OSError: there is no such file."""
    found = program.resolve().stat()
    return shared / f"{what}-{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"


def remember(kept: Path, said: bytes) -> None:
    """At a place from `remembered`, whole or not at all: others may read it, or write the same, meanwhile."""
    draft = kept.with_suffix(f".{os.getpid()}")
    draft.write_bytes(said)
    draft.replace(kept)


class Program:
    """One process of a vendor's program, spoken to by JSON-RPC."""

    def __init__(self, rpc: JsonRpc, tree: Tree) -> None:
        self.rpc = rpc
        self._tree = tree

    @classmethod
    async def start(
        cls,
        context: Context,
        tree: Tree,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_request: OnRequest,
        on_notice: OnNotice,
        *,
        cwd: Path | None = None,
    ) -> Program:
        """tree: its own from now on. cwd: where it runs; None: in the workspace. Raises Unavailable: it cannot be started."""
        marked = {**env, processes.AGENT_VARIABLE: context.agent, **tree.environment}
        try:
            rpc = await JsonRpc.start(
                argv, cwd=cwd or context.root, env=marked, on_request=on_request, on_notice=on_notice
            )
        except OSError as error:
            said = f"{argv[0]} cannot be started: {error.strerror or error}."
            raise Unavailable(said, **({"reason": "missing"} if isinstance(error, FileNotFoundError) else {})) from None
        tree.root = rpc.child.identity
        return cls(rpc, tree)

    async def ended(self) -> int | None:
        """Its exit code, -N for signal N, when it has ended and all that it said was taken in."""
        exit = await self.rpc.ended()
        return exit.code if exit.signal is None else -exit.signal

    async def close(self, *, now: bool = False, leaves: bool = True) -> None:
        """Nothing of it is left afterwards. `now`: without asking it first. leaves: it ends when its input is closed; one
        that does not is sent TERM at once."""
        await self._tree.thaw()
        await self.rpc.close(grace=GRACE if leaves and not now else 0)
        await self._tree.kill(grace=0 if now else GRACE)
        await self.rpc.child.wait()
        await self.rpc.dispose()
