"""What a model declares as the end of a turn, and that the local engine stops there."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, Gemma3Config, GenerationConfig, PreTrainedConfig

from aepo import api
from aepo.config import load
from aepo.engines.stopping import declared_ends, decode, decoder, ends_of
from aepo.rollout.generator import Stop
from aepo.types import Kind
from tests import tiny


@pytest.mark.parametrize(
    ("sources", "tokens", "strings"),
    [
        ([PreTrainedConfig(eos_token_id=7)], {7}, ()),
        ([PreTrainedConfig(eos_token_id=[1, 2]), GenerationConfig(eos_token_id=3)], {1, 2, 3}, ()),
        ([PreTrainedConfig(), GenerationConfig(), None], set(), ()),
        ([Gemma3Config(text_config={"eos_token_id": 106, "num_hidden_layers": 2}, eos_token_id=[1])], {1, 106}, ()),
        ([{"thinker_config": {"text_config": {"eos_token_id": 9}}}], {9}, ()),
        ([GenerationConfig(forced_eos_token_id=[5])], {5}, ()),
        ([GenerationConfig(stop_strings="###")], set(), ("###",)),
        ([GenerationConfig(stop_strings=["###", "", "Q:", "###"], eos_token_id=4)], {4}, ("###", "Q:")),
        ([{"eos_token_id": True, "bos_token_id": 1, "pad_token_id": 2}], set(), ()),
        ([{"eos_token_id": None, "stop_token_ids": [8]}], {8}, ()),
        ([{"additional_stop_tokens": ["<a>", {"content": "<b>"}]}, {"eot_token": "<c>"}], set(), ("<a>", "<b>", "<c>")),
        ([{"extra_special_tokens": {"eot_token": "<turn|>", "sot_token": "<|turn>"}}], set(), ("<turn|>",)),
        ([{"eot_token": AddedToken("<c>")}, []], set(), ("<c>",)),
    ],
)
def test_what_configurations_tokenizers_and_their_parts_declare(
    sources: list[object], tokens: set[int], strings: tuple[str, ...]
) -> None:
    assert declared_ends(*sources) == Stop(frozenset(tokens), strings)


def test_a_folder_is_read_and_a_tokenizer_alone_declares_its_own(tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path)
    assert ends_of(str(tmp_path)) == Stop()
    # No library has to know the architecture.
    (tmp_path / "config.json").write_text('{"model_type": "of tomorrow", "text_config": {"eos_token_id": 3}}')
    GenerationConfig(eos_token_id=[5, 7], stop_strings=["\nQ:"]).save_pretrained(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "eot_token": "<|user|>"}))
    assert ends_of(str(tmp_path)) == Stop(frozenset({3, 5, 7}), ("\nQ:", "<|user|>"))
    # A loaded tokenizer says what its file does.
    assert declared_ends(AutoTokenizer.from_pretrained(tmp_path)) == Stop(strings=("<|user|>",))


@pytest.mark.parametrize(
    ("declaration", "texts"),
    [
        ({"eos_token_id": [1, tiny.tokenizer().convert_tokens_to_ids("<search>")]}, ["<search>"]),
        ({"stop_strings": "<search>"}, ["<search>"]),
        ({"stop_strings": ["b", "d", "f", "g"]}, "bdfg"),
    ],
)
def test_a_turn_of_the_local_engine_ends_where_generation_config_says(
    tmp_path: Path, declaration: dict[str, Any], texts: Sequence[str]
) -> None:
    folder = tiny.save_model(tmp_path / "model")
    GenerationConfig(**declaration).save_pretrained(folder)
    policy = api.load_policy(str(folder))
    words = tiny.tokenizer()
    # After each result the model may begin another search; every other search has one of these letters.
    endings = set(words.convert_tokens_to_ids(list(texts)))
    found = api.evaluate(
        policy, tiny.letters(), samples=4, greedy=False, config=load(None, tiny.settings(tmp_path / "run", folder))
    )
    turns = [n.tokens for g in found.sampled for n in g.tree.nodes if n.kind is Kind.POLICY]
    assert any(turn[-1] in endings for turn in turns)
    assert not any(endings & {*turn[:-1]} for turn in turns)


def test_a_decoder_needs_no_transformers_in_another_process(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    ids = words.encode("<search>ab</search> c<|end|>", add_special_tokens=False)
    (tmp_path / "decoder").write_bytes(pickle.dumps(decoder(words)))
    code = f"""
import pickle, sys
print(pickle.loads(open({str(tmp_path / "decoder")!r}, "rb").read())({ids}), "transformers" in sys.modules)
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.split() == [*decode(words, ids).split(), "False"]
