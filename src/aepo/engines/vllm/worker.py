"""Runs inside vLLM's own processes: loads weights from a file, counts what arrives, and ends with the run.

It imports vLLM and no other module of this package. `StartedServer` puts a copy of it on the server's path, so vLLM's
environment does not need this package.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import WeightTransferUpdateInfo
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine

FORM = ("hidden_size", "num_hidden_layers", "vocab_size")
GRACE = 30.0


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """A safetensors file with weights by their names in `transformers`."""

    path: str


class FileEngine(IPCWeightTransferEngine):
    """Loads weights layer by layer as vLLM's own engine for GPU memory does, but from a file."""

    update_info_cls = FileUpdate

    def receive_weights(self, update_info: FileUpdate) -> None:
        """Load all tensors from the file."""
        with safe_open(update_info.path, framework="pt", device="cpu") as file:
            self.model.load_weights((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118

    def finish_weight_update(self) -> None:
        """Finish the loading, so that the model can run again."""
        super().finish_weight_update()
        pack_tied_layers(self.model)


def pack_tied_layers(model: torch.nn.Module) -> None:
    """Pack the weights of embeddings and output layers again; on a GPU this does nothing.

    On a CPU vLLM multiplies by a packed copy of these weights. An output layer that is tied to the embeddings gets no
    weights of its own, so its copy would stay old.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    for layer in model.modules():
        if isinstance(getattr(layer, "quant_method", None), UnquantizedEmbeddingMethod):
            layer.quant_method.process_weights_after_loading(layer)


WeightTransferEngineFactory.register_engine("aepo_file", FileEngine)


class Extension:
    """Methods for vLLM's worker; `/collective_rpc` calls them."""

    model_runner: Any

    def aepo_prepare(self, size: int) -> dict[str, int]:
        """Sample only ids below `size`, because a model may have more rows than its tokenizer has ids; count tensors.

        Whatever hands weights over, it calls `load_weights` of the model, so they are counted there.

        Returns:
            The form of the model.
        """
        model = self.model_runner.get_model()
        # With adapters, another module wraps the model.
        processor = getattr(model.logits_processor, "base_layer", model.logits_processor)
        processor.org_vocab_size = size
        self.aepo_count, self.aepo_loaded = 0, set[str]()
        load = type(model).load_weights

        def counting(weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
            def counted() -> Iterator[tuple[str, torch.Tensor]]:
                for weight in weights:
                    self.aepo_count += 1
                    yield weight

            loaded = load(model, counted())
            self.aepo_loaded |= set(loaded or ())
            return loaded

        model.load_weights = counting
        form = self.model_runner.model_config.hf_text_config
        return {name: getattr(form, name) for name in FORM}

    def aepo_arrived(self) -> dict[str, Any]:
        """The result of the last update: the number of tensors, and some parameters that got none."""
        model = self.model_runner.get_model()
        tied = self.model_runner.model_config.hf_text_config.tie_word_embeddings
        expected = {name for name, _ in model.named_parameters() if not (tied and name.endswith("lm_head.weight"))}
        told = {"tensors": self.aepo_count, "missing": sorted(expected - self.aepo_loaded)[:3]}
        self.aepo_count, self.aepo_loaded = 0, set()
        return told


def end_with_the_run(folder: str) -> None:
    """End the server's processes, and remove its folder, when the process that guards them has ended.

    The guard does that itself, unless it is killed. vLLM's engine would go on without its server for ever.
    """
    # The guard leads the session.
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(os.getsid(0))], [], [])
    shutil.rmtree(folder, ignore_errors=True)
    # Python's tracker of shared memory needs the time to remove that.
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if folder := os.environ.get("AEPO_VLLM_FOLDER"):
    threading.Thread(target=end_with_the_run, args=(folder,), daemon=True).start()
