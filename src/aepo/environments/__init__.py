"""Worlds with a state, one for each trajectory, whose public methods are the tools (`docs/environments.md`)."""

from aepo.environments.base import Environment, environment
from aepo.environments.contract import EnvironmentLost
from aepo.environments.session import Session, expected

__all__ = ["Environment", "EnvironmentLost", "Session", "environment", "expected"]
