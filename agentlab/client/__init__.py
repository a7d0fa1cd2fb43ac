"""What kernels, the command line and gateways share: a lab, its runs, its agents."""

from __future__ import annotations

from .handle import AgentHandle, Result
from .hold import Hold
from .lab import Lab, connect
from .run import Run

__all__ = ["AgentHandle", "Hold", "Lab", "Result", "Run", "connect"]
