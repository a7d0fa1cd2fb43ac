"""The tool boundary: everything that an agent does to its workspace passes `ToolHost`."""

from .around import Outcome
from .catalogue import ToolSpec
from .children import PINNED, Command, Ended
from .host import ToolHost
from .results import Change, Kept, Ran

__all__ = ["PINNED", "Change", "Command", "Ended", "Kept", "Outcome", "Ran", "ToolHost", "ToolSpec"]
