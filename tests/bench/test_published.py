"""Published dimensions are those of the published models; names and files that mean nothing are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepo.bench.published import PUBLISHED, dimensions
from aepo.bench.random_model import config_from
from aepo.engines.local.shape import shape_from
from tests.bench import toy

PARAMETERS = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "qwen3-0.6b": 596_049_920,
    "llama-3.2-1b": 1_235_814_400,
    "qwen3-1.7b": 1_720_574_976,
    "llama-3.2-3b": 3_212_749_824,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_dimensions_give_the_published_number_of_parameters(name: str) -> None:
    assert shape_from(config_from(dimensions(name))).parameters == PARAMETERS[name]


def test_a_file_gives_its_own_dimensions(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(toy.DIMENSIONS))
    assert dimensions(str(file)) == toy.DIMENSIONS
    assert shape_from(config_from(dimensions(str(toy.FILE)))).vocabulary == 4096


@pytest.mark.parametrize(
    ("text", "told"),
    [("[]", "has no model_type"), ("{", "cannot be read"), ('{"model_type": 3}', "has no model_type")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        dimensions(str(file))


def test_a_size_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean qwen3-8b\?"):
        dimensions("qwen3-8")


def test_dimensions_of_no_model_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no model's: .*nothing"):
        config_from({"model_type": "nothing"})
