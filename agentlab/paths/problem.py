"""What the operating system says of a file, as one of our errors (which are OSErrors too, some of them)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from agentlab.errors import AgentlabError, BadRequest, Forbidden, NotFound, OutsideWorkspace, Unavailable


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What goes wrong inside is told of this name."""
    try:
        yield
    except AgentlabError:
        raise
    except OSError as error:
        raise problem(error, name) from error


def problem(error: OSError, name: str) -> AgentlabError:
    text = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"There is no file {name!r} in the workspace. Use list to see what there is.", path=name)
        case errno.ELOOP:
            return swapped(repr(name), name)
        case errno.EISDIR | errno.ENOTDIR | errno.ENOTEMPTY | errno.EEXIST | errno.ENAMETOOLONG | errno.EINVAL:
            return BadRequest(f"{name!r}: {text}.", path=name)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Forbidden(f"{name!r}: {text}. Its owner, its mode or the file system does not allow it.", path=name)
        case _:
            return Unavailable(f"{name!r}: {text}. Nothing was changed.", path=name)


def swapped(what: str, name: str) -> OutsideWorkspace:
    """It was no link when it was looked at, and is one now."""
    return OutsideWorkspace(f"{what} became a symbolic link while it was in use. Nothing was done.", path=name)
