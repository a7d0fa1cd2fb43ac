"""Our tools as an MCP server beside the workspace, for agents whose program runs outside this process."""

from .server import ToolServer

__all__ = ["ToolServer"]
