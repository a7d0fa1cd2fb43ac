"""The one place where a path that anybody gave becomes a name, and a name becomes an open file."""

from .entry import ANYTHING, TEMPORARY
from .names import DEEPEST, IGNORED, shown
from .problem import problem
from .programs import program_outside
from .workspace import Located, Workspace

__all__ = ["ANYTHING", "DEEPEST", "IGNORED", "TEMPORARY", "Located", "Workspace", "problem", "program_outside", "shown"]
