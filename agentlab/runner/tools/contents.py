"""What a file would hold after a call: a function of what it holds now, for the write itself and for whoever is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentlab.errors import BadRequest, NotFound

from . import patch as unified
from .catalogue import Edit, MultiEdit, Patch, Write
from .replace import Replacement, all_replaced, replaced
from .texts import bytes_of, decode, encode


@dataclass(frozen=True)
class Now:
    """A file as it is on the disk. `data` None: it is larger than the store takes."""

    hash: str
    size: int
    mode: int
    data: bytes | None


Content = Callable[[Now | None], bytes]
"""From what is there (None: nothing) to what will be. Raises what the agent is told where that cannot be."""


def edited(name: str, old: str, new: str, *, all: bool) -> Content:
    return lambda now: encode(replaced(text_of(now, name), old, new, all=all, name=name), name)


def all_edited(name: str, edits: Sequence[Replacement]) -> Content:
    return lambda now: encode(all_replaced(text_of(now, name), edits, name=name), name)


def patched(name: str, diff: str) -> Content:
    creates = all(not hunk.old for hunk in unified.parse(diff))

    def content(now: Now | None) -> bytes:
        text = "" if now is None and creates else text_of(now, name)
        return encode(unified.apply(text, diff, name), name)

    return content


def made_by(args: Write | Edit | MultiEdit | Patch) -> Content:
    """What a call would make of the file at its path."""
    match args:
        case Write():
            data = bytes_of(args.data, args.encoding, args.path)
            return lambda now: data
        case Edit():
            return edited(args.path, args.old, args.new, all=args.all)
        case MultiEdit():
            return all_edited(args.path, args.edits)
        case Patch():
            return lambda now: patched(args.path, args.diff)(now)  # one that is no diff is refused when it is read


def text_of(now: Now | None, name: str) -> str:
    if now is None:
        raise NotFound(f"There is no file {name!r} to change. Use write to create it.", path=name)
    if now.data is None:
        raise BadRequest(f"{name} has {now.size} bytes: too large to change in place. Use a program through run.")
    return decode(now.data, name)
