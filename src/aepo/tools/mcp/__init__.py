"""Makes the tools of MCP servers usable in a task (extra `[mcp]`)."""

from aepo.tools.mcp.offer import McpServerError
from aepo.tools.mcp.tools import mcp_tools

__all__ = ["McpServerError", "mcp_tools"]
