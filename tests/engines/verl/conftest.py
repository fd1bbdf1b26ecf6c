"""Real runs of verl on the CPU: what a user types, with a platform, an engine and a rollout server for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.own_task import USER, settings

HERE = Path(__file__).parent
SERVER = "actor_rollout_ref.rollout."
ON_CPU: dict[str, Any] = {
    "trainer.device": "cpu",
    "trainer.n_gpus_per_node": 2,
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 2,
    "+ray_kwargs.ray_init.include_dashboard": False,
    "+ray_kwargs.ray_init.object_store_memory": 200_000_000,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "actor_rollout_ref.model.use_remove_padding": False,
    "+actor_rollout_ref.model.override_config.attn_implementation": "eager",
    "actor_rollout_ref.actor.use_torch_compile": False,
    SERVER + "name": "cpu",
}
"""The `verl:` section of a run here: two ranks, each with a rollout server."""


STARTS = 5
"""Ray gives its own start 30 seconds, whatever else the machine does."""


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    folder: Path
    code: int
    output: str


def train(folder: Path, config: dict[str, Any], *arguments: str, home: Path = HERE, **variables: str) -> Ran:
    """`aepo train` with engine verl, in a process of its own, in the folder `home` where task files are."""
    file = folder.with_suffix(".yaml")
    verl = {**ON_CPU, **config.get("verl", {})}
    file.write_text(yaml.safe_dump({**config, "engine": "verl", "run": str(folder), "verl": verl}))
    environment = {
        **os.environ,
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu",
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    what = [str(file)] if not arguments else list(arguments)
    command = [sys.executable, "-m", "aepo.cli", "train", *what]
    for _ in range(STARTS):
        # A folder of its own, since it is left behind, and short, since sockets lie in it.
        with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as ray:
            environment["RAY_TMPDIR"] = ray
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=home
            )
        folder.with_suffix(".log").write_text(done.stdout)
        if "node timed out during startup" not in done.stdout:
            break
    return Ran(folder, done.returncode, done.stdout)


@pytest.fixture(scope="session")
def own_task(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run of the user's task file, whose servers tell of likely tokens by their HTTP interface only."""
    folder = tmp_path_factory.mktemp("verl") / "run"
    return train(folder, settings("verl", folder), home=USER, AEPO_TEST_ENDPOINT="vllm")
