"""The tool boundary: everything that an agent does to its workspace passes `ToolHost`."""

from .catalogue import ToolSpec
from .host import ToolHost
from .results import Change, Kept, Ran
from .runs import PINNED

__all__ = ["PINNED", "Change", "Kept", "Ran", "ToolHost", "ToolSpec"]
