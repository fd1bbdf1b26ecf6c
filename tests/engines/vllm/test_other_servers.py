"""Servers of the user's that do not fit a run: another version, other options, another model or tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aepo import api
from aepo.engines.vllm.control import Control, VllmError
from aepo.engines.vllm.needs import Devices, ServerNeeds
from aepo.engines.vllm.refused import check_server
from tests import tiny
from tests.engines.vllm.conftest import Serve, Settings
from tests.engines.vllm.fake import FakeVllm


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"version": "0.11.0"}, r"vLLM 0\.11\.0 is too old: install 0\.32 or later"),
        ({"version": ""}, r"vLLM of an unknown version is too old"),
        ({"started": {"dtype": "torch.bfloat16"}}, "start it with --dtype float32"),
        ({"started": {"logprobs_mode": "raw_logprobs"}}, "start it with --logprobs-mode processed_logprobs"),
        ({"started": {"max_logprobs": 5}}, "start it with --max-logprobs 20"),
        ({"started": {"quantization": "fp8"}}, "start it with no --quantization"),
        ({"length": 8}, "start it with --max-model-len"),
        ({"caches": False}, "start it with --enable-prefix-caching"),
        ({"lora_rank": 8}, 'start it with --weight-transfer-config \'{"backend": "aepo_file"}\''),
        ({"form": {"hidden_size": 96}}, "another model: its hidden_size is 96, the trained one's 64"),
    ],
)
def test_a_server_that_does_not_fit(serve: Serve, settings: Settings, how: dict[str, Any], told: str, tmp_path: Path):
    with pytest.raises(VllmError, match=told):
        api.train_task(settings(serve(**how)), tiny.letters())
    assert not (tmp_path / "run").exists()


def test_a_server_that_gives_any_number_of_log_probabilities_fits(serve: Serve, settings: Settings):
    server = serve(started={"max_logprobs": -1})
    check_server(Control(server.url), settings(server), ServerNeeds("model", "model", "float32", 16, Devices(None)))


def test_a_server_without_adapters(serve: Serve, settings: Settings):
    pytest.importorskip("peft")
    with pytest.raises(VllmError, match="start it with --enable-lora --max-lora-rank 8"):
        api.train_task(settings(serve(), "model.lora.rank=8"), tiny.letters())


def test_a_server_with_another_tokenizer(serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    answer = FakeVllm.answer

    def other(self: FakeVllm, path: str, body: Any) -> tuple[int, Any]:
        return (200, {"tokens": [1, 2]}) if path == "/tokenize" else answer(self, path, body)

    monkeypatch.setattr(FakeVllm, "answer", other)
    with pytest.raises(VllmError, match=r"another tokenizer: it writes 'The capital of France is' as \[1, 2\], ours"):
        api.train_task(settings(serve()), tiny.letters())


def test_a_server_that_is_not_there(serve: Serve, settings: Settings):
    config = settings(serve())
    gone = config.model_copy(update={"vllm": config.vllm.model_copy(update={"url": "http://127.0.0.1:9/v1"})})
    with pytest.raises(VllmError, match=r"server http://127\.0\.0\.1:9, /version: .*refused"):
        api.train_task(gone, tiny.letters())


def test_a_server_that_was_not_started_for_training(serve: Serve, settings: Settings):
    server = serve(hides="/server_info")
    with pytest.raises(VllmError, match=r"refuses /server_info.*is it started with VLLM_SERVER_DEV_MODE=1\?"):
        api.train_task(settings(server), tiny.letters())
