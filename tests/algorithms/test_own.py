"""An algorithm that a user adds: found by its place, checked like ours, with all that it does not say for itself."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from aepo.algorithms import GRPO, Algorithm
from aepo.config import Config, ConfigError, dump, load, parse
from aepo.types import Origin
from tests.algorithms.test_algorithms import BATCH, loss_and_factor
from tests.fenced import blocks
from tests.rollout.toy import ToyGenerator, questions, run

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own_algorithm.md"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the page that has RLOO, in the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
    import my_algorithm

    yield my_algorithm
    for name in ("my_algorithm", "my_rollout"):
        sys.modules.pop(name, None)


def test_what_an_algorithm_does_not_say_is_independent_samples_z_score_and_ppos_clip() -> None:
    class Plain(Algorithm):
        pass

    assert Plain(group_size=5).exploration() == GRPO(group_size=5).exploration()
    assert torch.equal(Plain().advantages(BATCH), GRPO().advantages(BATCH))
    for one, other in zip(loss_and_factor(Plain()), loss_and_factor(GRPO()), strict=True):
        assert torch.equal(one, other)
    assert not Plain().needs_entropy and Plain().rounds == 1 and Plain().informative([1.0, 1.0])


def test_the_one_of_the_page_has_fifteen_lines_and_the_advantage_of_its_paper(mine: Any) -> None:
    assert len([line for line in Path("my_algorithm.py").read_text().splitlines() if line]) <= 15
    found = mine.RLOO().advantages(BATCH)
    expected = [1.0 - 0.25, 0.0 - 0.75, 0.5 - 0.5, 2.0 - 1.5, 2.0 - 1.5, 1.0 - 2.0]
    assert found[:, 0].tolist() == pytest.approx(expected)


def test_a_configuration_finds_it_by_its_place_and_is_written_down(mine: Any) -> None:
    found = load(None, ["algorithm.name=my_algorithm:RLOO", "algorithm.group_size=4"])
    assert found.algorithm == mine.RLOO(group_size=4)
    given = Config().model_copy(update={"algorithm": mine.RLOO(group_size=4)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(yaml.safe_load(dump(given))) == found


def test_it_takes_from_a_file_what_all_algorithms_share(mine: Any) -> None:
    Path("run.yaml").write_text("algorithm: {name: aepo, tau: 0.6, group_size: 4}\n", encoding="utf-8")
    assert load("run.yaml", ["algorithm.name=my_algorithm:RLOO"]).algorithm == mine.RLOO(group_size=4)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["name=my_algorithm:RLOO", "tau=1"], "unknown key 'algorithm.tau': known here: name, group_size, aggregation"),
        (["name=my_rollout:Early", "frist=1"], "unknown key 'algorithm.frist': did you mean 'first'?"),
        (["name=my_rollout:Early", "first=0"], "algorithm.first: input should be greater than or equal to 1, got 0"),
        (["name=my_algorithm:RLO"], "algorithm: class 'my_algorithm:RLO' cannot be imported: module 'my_algorithm'"),
        (["name=my_algorithm:aepo"], "algorithm: class 'my_algorithm:aepo' is a module: name a subclass of aepo.Alg"),
        (["name=nowhere:RLOO"], "algorithm: class 'nowhere:RLOO' cannot be imported: No module named 'nowhere'"),
    ],
)
def test_what_does_not_fit_is_one_line(mine: Any, overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(None, [f"algorithm.{one}" for one in overrides])
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_rules_of_its_own_are_carried_out(mine: Any) -> None:
    from my_rollout import Early

    algorithm = Early(group_size=6, first=2)
    groups = run(ToyGenerator(), algorithm.exploration(), questions(8))
    origins = [leaf.origin for group in groups for leaf in group.tree.leaves]
    assert all(len(group.tree.leaves) == 6 for group in groups)
    assert origins.count(Origin.GLOBAL) == 2 * len(groups) and origins.count(Origin.BRANCH) > len(groups)
    assert algorithm.needs_entropy, "rules that watch read entropies"
