"""Both backends, each where its host allows it."""

import pytest

from aepo.tools.sandbox.base import Sandbox, SandboxUnavailable
from aepo.tools.sandbox.choose import choose


@pytest.fixture(params=["sandlock", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return choose(request.param)
    except SandboxUnavailable as error:
        # One that cannot start here is skipped; one that starts and does not contain must fail.
        if "not contained" in str(error):
            raise
        pytest.skip(str(error))
