"""The tool boundary: everything that an agent does to its workspace passes `ToolHost`."""

from .around import Outcome
from .catalogue import ToolSpec
from .host import ToolHost
from .results import Change, Kept, Ran
from .runs import PINNED

__all__ = ["PINNED", "Change", "Kept", "Outcome", "Ran", "ToolHost", "ToolSpec"]
