"""Agentic Entropy-Balanced Policy Optimization (arXiv 2510.14545): train LLM agents that use tools.

The names below are imported at their first use, so that `import aepo` is quick and does not load torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# OpenMP reads this once, when torch is loaded. By default waiting threads spin and take cores from working threads.
# Beside other busy processes a step then takes many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from aepo import rewards
    from aepo.algorithms import AEPO, ARPO, AXPO, CISPO, DAPO, GPPO, GRPO, Algorithm, GiGPO, ReinforcePP
    from aepo.api import Run, evaluate, load_policy, solve, train, view
    from aepo.config import Config
    from aepo.config import load as load_config
    from aepo.environments import Environment, check_environment, environment
    from aepo.evaluation.runner import Evaluation
    from aepo.solving.solution import Solution
    from aepo.tasks.atlas import atlas
    from aepo.tasks.base import Task
    from aepo.tasks.rows import samples
    from aepo.tools.base import Tool, ToolSettings, tool
    from aepo.tools.mcp import mcp_tools
    from aepo.tools.pages.browse import browse
    from aepo.tools.python import python
    from aepo.tools.search import Document, search
    from aepo.types import Example, Group, Sample, ToolCall, ToolError, Trajectory, TrajectoryTree

_WHERE = {
    "AEPO": "aepo.algorithms",
    "ARPO": "aepo.algorithms",
    "AXPO": "aepo.algorithms",
    "CISPO": "aepo.algorithms",
    "DAPO": "aepo.algorithms",
    "GPPO": "aepo.algorithms",
    "GRPO": "aepo.algorithms",
    "Algorithm": "aepo.algorithms",
    "Config": "aepo.config",
    "Document": "aepo.tools.search",
    "Environment": "aepo.environments",
    "Evaluation": "aepo.evaluation.runner",
    "Example": "aepo.types",
    "GiGPO": "aepo.algorithms",
    "Group": "aepo.types",
    "ReinforcePP": "aepo.algorithms",
    "Run": "aepo.api",
    "Sample": "aepo.types",
    "Solution": "aepo.solving.solution",
    "Task": "aepo.tasks.base",
    "Tool": "aepo.tools.base",
    "ToolCall": "aepo.types",
    "ToolError": "aepo.types",
    "ToolSettings": "aepo.tools.base",
    "Trajectory": "aepo.types",
    "TrajectoryTree": "aepo.types",
    "atlas": "aepo.tasks.atlas",
    "browse": "aepo.tools.pages.browse",
    "check_environment": "aepo.environments",
    "environment": "aepo.environments",
    "evaluate": "aepo.api",
    "load_config": "aepo.config",
    "load_policy": "aepo.api",
    "mcp_tools": "aepo.tools.mcp",
    "python": "aepo.tools.python",
    "rewards": "aepo.rewards",
    "samples": "aepo.tasks.rows",
    "search": "aepo.tools.search",
    "solve": "aepo.api",
    "tool": "aepo.tools.base",
    "train": "aepo.api",
    "view": "aepo.api",
}

__all__ = [
    "AEPO",
    "ARPO",
    "AXPO",
    "CISPO",
    "DAPO",
    "GPPO",
    "GRPO",
    "Algorithm",
    "Config",
    "Document",
    "Environment",
    "Evaluation",
    "Example",
    "GiGPO",
    "Group",
    "ReinforcePP",
    "Run",
    "Sample",
    "Solution",
    "Task",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolSettings",
    "Trajectory",
    "TrajectoryTree",
    "atlas",
    "browse",
    "check_environment",
    "environment",
    "environments",
    "evaluate",
    "load_config",
    "load_policy",
    "mcp_tools",
    "python",
    "rewards",
    "samples",
    "search",
    "solve",
    "tool",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import_module("aepo.process.windows").refuse_windows()
    if name == "load_config":
        return import_module("aepo.config").load
    if name in ("rewards", "environments"):
        return import_module(f"aepo.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'aepo' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
