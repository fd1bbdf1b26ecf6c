"""Worlds with a state, one for each trajectory, whose public methods are the tools (`docs/environments.md`)."""

from aepo.environments.base import Environment
from aepo.environments.check import check_environment
from aepo.environments.contract import EnvironmentLost
from aepo.environments.methods import environment
from aepo.environments.replay import expected
from aepo.environments.session import Session

__all__ = ["Environment", "EnvironmentLost", "Session", "check_environment", "environment", "expected"]
