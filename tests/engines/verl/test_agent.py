"""What the agent loops of verl ask of its rollout servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from transformers import AutoTokenizer

from aepo.config import parse
from aepo.engines.verl import process
from aepo.engines.verl.agent import Desk
from aepo.engines.verl.generator import ServedGenerator
from aepo.engines.verl.launch import placed
from tests.engines.verl.test_generator import Client


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The desk of a run whose model declares two ends beside its tokenizer's."""
    plain = placed(parse({"engine": "verl"})).model.path
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((Path(plain) / name).read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first, second = tokenizer.convert_tokens_to_ids(["<|system|>", "<|user|>"])
    (folder / "config.json").write_text(json.dumps({"text_config": {"eos_token_id": first}}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [second], "stop_strings": ["Q:"]}))
    config = parse(
        {
            "engine": "verl",
            "run": str(tmp_path / "run"),
            "model": {"path": str(folder)},
            "task": {"name": "atlas", "options": {"size": 20, "held_out": 2}},
        }
    )
    monkeypatch.setenv(process.VARIABLE, config.model_dump_json())
    process.run_config.cache_clear()
    process.run_task.cache_clear()
    yield Desk(tokenizer, workers=1, resume=False), {first, second, tokenizer.eos_token_id}
    process.run_config.cache_clear()
    process.run_task.cache_clear()


def test_every_request_has_the_ends_that_the_models_files_declare(desk: Any) -> None:
    made, ends = desk
    client = Client([min(ends)], [max(ends)])
    asked = next(iter(made.samples))
    generator = ServedGenerator(client, {"temperature": 1.0}, made.stopping)
    group = anyio.run(made.grow, asked, 0, generator, None, 2)
    assert len(group.tree.leaves) == len(client.asked) == 2
    for _, _, sampling in client.asked:
        assert ends <= set(sampling["stop_token_ids"])
        assert "Q:" in sampling["stop"]
