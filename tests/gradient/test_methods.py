"""Which methods a configuration is asked about, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aepo.algorithms import AEPO, DAPO, GRPO
from aepo.config import ConfigError
from aepo.gradient.methods import methods_of, settings_apart, variants, without_std


def written(folder: Path, name: str, **settings: object) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_of_one_file_the_algorithm_is_asked_about_with_other_weights(tmp_path: Path) -> None:
    config, methods = methods_of([written(tmp_path, "mine", algorithm={"name": "arpo", "group_size": 4})], ["seed=3"])
    assert config.seed == 3
    assert [method.label for method in methods] == [
        "grpo",
        "grpo, entropy -0.2",
        "arpo, as given",
        "arpo, entropy 0",
        "arpo, path",
        "arpo, path, mixed",
        "arpo, path, mixed, -0.2",
    ]
    assert {method.algorithm.group_size for method in methods} == {4}
    assert settings_apart(methods[-1]) == "arpo group_size=4 entropy_weight=-0.2 leaf_weights=path credit=mixed"


def test_of_several_files_each_is_a_method(tmp_path: Path) -> None:
    one, other = written(tmp_path, "one"), written(tmp_path, "other", algorithm={"leaf_weights": "path"})
    _, methods = methods_of([one, other], [])
    assert [method.label for method in methods] == ["grpo", "one", "other"]
    assert methods[2].algorithm == AEPO(leaf_weights="path")


def test_files_that_differ_in_more_than_the_algorithm_are_refused(tmp_path: Path) -> None:
    one, other = written(tmp_path, "one"), written(tmp_path, "other", seed=5)
    with pytest.raises(ConfigError, match=r"other.yaml and .*one.yaml differ in seed"):
        methods_of([one, other], [])


def test_grpo_is_not_asked_about_twice() -> None:
    assert [method.label for method in variants(GRPO())] == ["grpo, entropy -0.2"]
    assert [method.label for method in variants(DAPO())] == ["grpo, entropy -0.2", "dapo, as given"]
    assert without_std(DAPO()) is None and without_std(AEPO()) == AEPO(standardize=False)
