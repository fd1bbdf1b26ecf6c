"""In a cell of a real notebook, where an event loop runs already, everything works as in a script."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from aepo.equipment.models import BUILT_IN_MODELS
from tests import tiny

ROOT = Path(__file__).parents[1]

SETUP = """
import asyncio
import sys
sys.path[:0] = [{root!r}]
import torch
import aepo
from tests import tiny
torch.set_num_threads(1)
lock = asyncio.Lock()  # belongs to the first event loop that waits for it


@aepo.tool
async def search(query: str) -> str:
    '''Look something up.

    Args:
        query: What to look up.
    '''
    async with lock:
        await asyncio.sleep(0)
    return query[::-1][:4]


async def reward(sample, trajectory):
    async with lock:
        await asyncio.sleep(0)
    return tiny.early(sample, trajectory)


samples = tiny.samples(5)
task = aepo.Task("letters", samples[:3], [search], reward, samples[3:], system="")
settings = aepo.load_config(None, {settings!r})
assert asyncio.get_running_loop().is_running()
"""
TRAIN = "run = aepo.train({model!r}, task, config=settings)"
EVALUATE = "str(aepo.evaluate(run.policy, task, samples=2, config=settings))"
SOLVE = "str(aepo.solve(run.policy, 'what is abc', [search], trajectories=3, config=settings))"
INSIDE = "await asyncio.to_thread(aepo.evaluate, run.policy, task, samples=1, config=settings)\n'inside'"


@pytest.mark.usefixtures("one_thread")
def test_cells_train_evaluate_and_solve_with_one_lock(tmp_path: Path, model_folder: Path) -> None:
    settings = tiny.settings(tmp_path / "run", model_folder, "train.steps=2", "rollout.deterministic=false")
    setup = SETUP.format(root=str(Path(__file__).parents[1]), settings=settings)
    cells = [setup, TRAIN.format(model=str(model_folder)), EVALUATE, SOLVE, INSIDE]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown = [output["data"]["text/plain"] for cell in notebook.cells for output in cell.outputs if "data" in output]
    assert "Pass@1" in shown[-3] and "trajectories" in shown[-2] and shown[-1] == "'inside'"


def test_the_notebook_of_the_examples_runs(tmp_path: Path) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    notebook = nbformat.read(ROOT / "examples" / "first_steps.ipynb", as_version=4)
    quiet = nbformat.v4.new_code_cell(f"import sys; sys.path[:0] = [{str(ROOT / 'src')!r}]")
    notebook.cells.insert(0, quiet)
    client = NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "The capital of Peru is Lima." in outputs[0]
    assert any("Pass@1" in output for output in outputs)
    assert (tmp_path / "runs" / "notebook" / "trees.html").is_file()
