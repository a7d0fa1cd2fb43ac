"""The one place where a path that anybody gave becomes a name, and a name becomes an open file."""

from .entry import ANYTHING, TEMPORARY
from .names import DEEPEST, IGNORED, shown
from .problem import explained
from .programs import program_outside
from .workspace import Located, Workspace

__all__ = [
    "ANYTHING",
    "DEEPEST",
    "IGNORED",
    "TEMPORARY",
    "Located",
    "Workspace",
    "explained",
    "program_outside",
    "shown",
]
