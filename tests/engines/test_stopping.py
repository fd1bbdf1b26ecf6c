"""Which tokens a model's configurations declare as the end of a turn, and that the local engine stops at them."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GenerationConfig, PreTrainedConfig

from aepo import api
from aepo.config import load
from aepo.engines.stopping import declared_ends, ends_of
from aepo.types import Kind
from tests import tiny


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        (7, None, {7}),
        (None, [5, 7], {5, 7}),
        ([1, 2], 3, {1, 2, 3}),
        (None, None, set()),
    ],
)
def test_one_token_or_a_list_from_either_configuration(config: object, generation: object, ends: set[int]) -> None:
    assert declared_ends(PreTrainedConfig(eos_token_id=config), GenerationConfig(eos_token_id=generation)) == ends


def test_a_part_of_a_configuration_declares_too() -> None:
    from transformers import Gemma3Config

    composed = Gemma3Config(text_config={"eos_token_id": 106, "num_hidden_layers": 2}, eos_token_id=[1])
    assert declared_ends(composed, None) == {1, 106}


def test_a_folder_is_read_and_a_tokenizer_alone_declares_nothing(tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path)
    assert ends_of(str(tmp_path)) == frozenset()
    GenerationConfig(eos_token_id=[5, 7]).save_pretrained(tmp_path)
    assert ends_of(str(tmp_path)) == {5, 7}


def test_a_turn_of_the_local_engine_ends_at_a_token_that_generation_config_declares(tmp_path: Path) -> None:
    folder = tiny.save_model(tmp_path / "model")
    words = tiny.tokenizer()
    # After each result the model may begin another search: declared as an end, that token ends the turn.
    declared = words.convert_tokens_to_ids("<search>")
    GenerationConfig(eos_token_id=[words.eos_token_id, declared]).save_pretrained(folder)
    policy = api.load_policy(str(folder))
    assert policy.ends == {words.eos_token_id, declared}
    found = api.evaluate(
        policy, tiny.letters(), samples=4, greedy=False, config=load(None, tiny.settings(tmp_path / "run", folder))
    )
    turns = [n.tokens for g in found.sampled for n in g.tree.nodes if n.kind is Kind.POLICY]
    assert any(turn[-1] == declared for turn in turns)
    assert all(declared not in turn[:-1] for turn in turns)
