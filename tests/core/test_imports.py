import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["budget", "branching", "exploration", "noise", "scale"])
def test_rollout_rules_load_without_torch(name: str) -> None:
    code = f"import sys, aepo.core.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
