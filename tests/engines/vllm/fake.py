"""vLLM's interface for weights over a real model in this process, which can fail as vLLM was seen to fail.

It lets runs with `vllm.url` be tested where no vLLM is. What vLLM itself does is tested by `test_runs.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load_file

from tests.engines.openai.server import ModelServer


@dataclass
class FakeVllm(ModelServer):
    """A server that takes weights and adapters.

    Attributes:
        length: Tokens that a sequence may hold.
        forgets: Part of the names of tensors that an update does not load, although it counts them.
        keeps: An update is accepted and changes nothing.
        refuses: Path of a call that answers with status 500.
        holds: A request holds keys and values, so they are not reset.
        started: What it says of its start, besides what fits.
        caches: Whether it caches prefixes.
        hides: The path of a call that it does not have.
        form: What it says of its model, where that is not true.
        version: Of vLLM.
        adapters: Policies by the served name; loaded by `peft`.
        done: Paths of the control calls, in order.
        take: Gets the tensors by what an update says.
        asleep: What has no memory, of "weights" and "kv_cache".
    """

    length: int = 512
    forgets: str = "\0"
    keeps: bool = False
    refuses: str = ""
    holds: bool = False
    lora_rank: int = 0
    started: dict[str, Any] = field(default_factory=dict)
    caches: bool = True
    hides: str = ""
    form: dict[str, int] = field(default_factory=dict)
    version: str = "0.32.0"
    adapters: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    take: Callable[[Any], dict[str, torch.Tensor]] = field(default=lambda told: load_file(told["path"]))
    asleep: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.name = "policy"
        # vLLM begins with random weights.
        self.model = copy.deepcopy(self.model)
        if not self.lora_rank:
            self._lose_weights()
        self.arrived: list[str] = []

    def _lose_weights(self) -> None:
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.normal_()

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        route = path.partition("?")[0]
        if self.hides and route == self.hides:
            return 404, {"detail": "Not Found"}
        if self.refuses and route == self.refuses:
            return 500, {"error": {"message": "the worker failed"}}
        if route == "/v1/completions":
            return self._completion(body)
        handled = getattr(self, "_on" + route.replace("/", "_"), None)
        if handled is None:
            return super().answer(path, body)
        if body is not None or route not in ("/health", "/version", "/server_info"):
            self.done.append(path)
        if self.asleep & {"/update_weights": {"weights"}, "/resume": {"kv_cache"}}.get(route, set()):
            return 500, {"error": {"message": f"{route} while asleep"}}
        return 200, handled(body) or {}

    def _completion(self, body: Any) -> tuple[int, Any]:
        if self.asleep:
            return 500, {"error": {"message": "a request while asleep"}}
        if body["model"] == self.name:
            return self._vllm(body)
        if body["model"] not in self.adapters:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        base, self.model = self.model, self.adapters[body["model"]]
        try:
            return self._vllm({**body, "model": self.name})
        finally:
            self.model = base

    def _on_health(self, _: Any) -> None:
        """It is well."""

    def _on_version(self, _: Any) -> Any:
        return {"version": self.version}

    def _on_server_info(self, _: Any) -> Any:
        model = {"dtype": "torch.float32", "logprobs_mode": "processed_logprobs", "max_logprobs": 20}
        model |= {"max_model_len": self.length, "quantization": None, **self.started}
        lora = {"max_lora_rank": self.lora_rank} if self.lora_rank else None
        backend = None if self.lora_rank else {"backend": "aepo_file"}
        config = {"model_config": model, "cache_config": {"enable_prefix_caching": self.caches}, "lora_config": lora}
        return {"vllm_config": config | {"speculative_config": None, "weight_transfer_config": backend}}

    def _on_init_weight_transfer_engine(self, _: Any) -> None:
        """Nothing to agree on."""

    def _on_pause(self, _: Any) -> None:
        """Nothing runs meanwhile: the server answers one request at a time."""

    _on_resume = _on_start_weight_update = _on_finish_weight_update = _on_pause

    def _on_reset_prefix_cache(self, _: Any) -> Any:
        return {"success": not self.holds}

    def _on_sleep(self, _: Any) -> None:
        self.asleep = {"weights", "kv_cache"}
        if "level=2" in self.done[-1]:
            self._lose_weights()

    def _on_wake_up(self, _: Any) -> None:
        self.asleep.remove(self.done[-1].partition("tags=")[2])

    def _on_get_world_size(self, _: Any) -> Any:
        return {"world_size": 2}

    def _on_update_weights(self, body: Any) -> None:
        weights = self.take(body["update_info"])
        self.arrived = list(weights)
        if not self.keeps:
            kept = {name: weight for name, weight in weights.items() if self.forgets not in name}
            self.model.load_state_dict(kept, strict=False)

    def _on_collective_rpc(self, body: Any) -> Any:
        form = {name: getattr(self.model.config, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size")}
        told = {"aepo_arrived": {"tensors": len(self.arrived), "missing": []}, "aepo_prepare": form | self.form}
        return {"results": [told[body["method"]]]}

    def _on_v1_load_lora_adapter(self, body: Any) -> None:
        from peft import PeftModel

        self.adapters[body["lora_name"]] = PeftModel.from_pretrained(
            copy.deepcopy(self.model), body["lora_path"]
        ).eval()

    def _on_v1_unload_lora_adapter(self, body: Any) -> None:
        del self.adapters[body["lora_name"]]
