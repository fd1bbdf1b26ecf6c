"""What several processes do to a service together stays inside its limits."""

import pytest

from aepo.config import ConfigError, RateConfig, ToolLimits, ToolsConfig
from aepo.engines.verl.tools import divided

TOOLS = ToolsConfig(
    services={"web": RateConfig(concurrency=9, rate=4.0)}, limits={"search": ToolLimits(concurrency=8, rate=2.0)}
)


def test_one_process_keeps_the_limits():
    assert divided(TOOLS, 1) == TOOLS


def test_a_service_is_divided_and_the_calls_of_a_tool_are_a_nodes():
    part = divided(TOOLS, 4)
    assert (part.services["web"].concurrency, part.services["web"].rate) == (2, 1.0)
    assert (part.limits["search"].concurrency, part.limits["search"].rate) == (8, 0.5)


def test_a_service_that_cannot_be_divided_is_refused():
    with pytest.raises(ConfigError, match=r"tools\.services\.web\.concurrency is 9"):
        divided(TOOLS, 10)
