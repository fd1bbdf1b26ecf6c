"""Loads weights from a file inside vLLM's own processes. It imports vLLM and no other module of this package.

`server_command` puts a copy of this module on the server's path, so vLLM's environment does not need this package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

BACKEND = "aepo_file"


@dataclass
class FileInit(WeightTransferInitInfo):
    """The information that begins a transfer; it is empty, because none is needed."""


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """A safetensors file with weights by their names in `transformers`."""

    path: str


class FileEngine(WeightTransferEngine[FileInit, FileUpdate]):
    """Loads weights from a file of this machine.

    Attributes:
        arrived: The number of tensors in the last update.
        missing: The names of the model's parameters that were not in the last update.
    """

    init_info_cls, update_info_cls = FileInit, FileUpdate
    arrived = 0
    missing: tuple[str, ...] = ()

    def init_transfer_engine(self, init_info: FileInit) -> None:
        """Do nothing, because a file needs no connection."""

    def start_weight_update(self) -> None:
        """Prepare the model for new weights, which replace the old ones layer by layer."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: FileUpdate) -> None:
        """Load all tensors from the file."""
        count = 0

        def counted() -> Iterator[tuple[str, torch.Tensor]]:
            nonlocal count
            with safe_open(update_info.path, framework="pt", device="cpu") as file:
                for name in file.keys():  # noqa: SIM118  # it is no mapping
                    count += 1
                    yield name, file.get_tensor(name)

        expected = {name for name, _ in self.model.named_parameters()}
        if self.model_config.hf_text_config.tie_word_embeddings:
            expected = {name for name in expected if not name.endswith("lm_head.weight")}
        loaded = self.model.load_weights(counted())
        FileEngine.arrived, FileEngine.missing = count, tuple(sorted(expected - set(loaded or ())))

    def finish_weight_update(self) -> None:
        """Finish the loading, so that the model can run again."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        pack_tied_layers(self.model)

    def shutdown(self) -> None:
        """Do nothing, because no resources are held."""


def pack_tied_layers(model: torch.nn.Module) -> None:
    """Pack the weights of embeddings and output layers again.

    On a CPU vLLM multiplies by a packed copy of these weights. An output layer that is tied to the embeddings gets no
    weights of its own, so its copy would stay old.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    for layer in model.modules():
        method = getattr(layer, "quant_method", None)
        if isinstance(method, UnquantizedEmbeddingMethod) and hasattr(layer, "cpu_linear"):
            method.process_weights_after_loading(layer)


WeightTransferEngineFactory.register_engine(BACKEND, FileEngine)


class Extension:
    """Methods for vLLM's worker; `/collective_rpc` calls them."""

    model_runner: Any

    def aepo_vocabulary(self, size: int) -> None:
        """Sample only ids below `size`, because a model may have more rows than its tokenizer has ids."""
        processor = self.model_runner.get_model().logits_processor
        # With adapters, another module wraps the model.
        processor = getattr(processor, "base_layer", processor)
        processor.org_vocab_size = size

    def aepo_arrived(self) -> str:
        """The result of the last update as JSON: the number of tensors, and some parameters that got none."""
        return json.dumps({"tensors": FileEngine.arrived, "missing": FileEngine.missing[:3]})
