"""A rollout server on our own in-process engine: exact log-probabilities and entropies, continuous batching.

With `AEPO_TEST_ENDPOINT` it is a server as verl's are: no entropies in its replies, and an HTTP interface beside them.
"""

import asyncio
import contextlib
import importlib.util
import os
import sys
from pathlib import Path

import ray
import torch
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput
from verl.workers.rollout.utils import ensure_async_iterator

from aepo.engines.local.load import load_policy
from aepo.engines.local.policy import LocalPolicy
from aepo.rollout.generator import GeneratorSettings, Stop

KEEP = "AEPO_TEST_WEIGHTS"
"""Folder in which servers keep the weights that they were given, for the test to compare."""
DIE = "AEPO_TEST_DIE"
""""rank step request": the server of that rank ends its process at that request of that step."""

ENDPOINT = "AEPO_TEST_ENDPOINT"
"""What the servers speak over HTTP, "vllm" or "sglang"; unset, they do not."""
MODEL_SERVER = str(Path(__file__).parents[2] / "openai" / "server.py")


def name(rank):
    return f"rollout_server_{rank}"


@ray.remote(num_cpus=0)
class Server:
    """It goes to its process by value: a function of this module in it would be imported there, before verl is."""

    def __init__(self, path, max_length, rank):
        self.rank = rank
        torch.set_num_threads(1)
        self.policy = LocalPolicy(load_policy(path, device="cpu"))
        settings = {"temperature": 1.0, "max_sequences": 64, "max_length": max_length}
        self.engines = {
            greedy: self.policy.sampler.generator(GeneratorSettings(**settings, greedy=greedy))
            for greedy in (False, True)
        }
        self.serving = None
        self.ready = asyncio.Event()
        self.global_steps = None
        self.drawn = self.since_load = 0

    async def address(self):
        """Where it can be asked over HTTP; None if it cannot."""
        if ENDPOINT not in os.environ:
            return None
        spec = importlib.util.spec_from_file_location("aepo_test_model_server", MODEL_SERVER)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        served = module.ModelServer(os.environ[ENDPOINT], self.policy.model, self.policy.tokenizer, context=4096)
        self.http = contextlib.ExitStack()
        return self.http.enter_context(module.serving(served)).url.removeprefix("http://").removesuffix("/v1")

    async def _serve(self):
        async with self.engines[False], self.engines[True]:
            self.ready.set()
            await asyncio.Event().wait()

    async def generate(self, request_id, prompt_ids, sampling_params, image_data=None, video_data=None, **_):
        if self.serving is None:
            self.serving = asyncio.create_task(self._serve())
        await self.ready.wait()
        engine = self.engines[sampling_params["temperature"] == 0]
        self.drawn += 1
        self.since_load += 1
        if os.environ.get(DIE) == f"{self.rank} {(self.global_steps or 0) + 1} {self.since_load}":
            os._exit(1)
        sequence = engine.open(list(prompt_ids), noise=hash((request_id, self.drawn)) & (1 << 63) - 1)
        stop = Stop(frozenset(sampling_params.get("stop_token_ids", ())), tuple(sampling_params.get("stop", ())))
        try:
            found = await engine.sample(sequence, sampling_params["max_tokens"], stop)
        finally:
            engine.end(sequence)
            engine.close(sequence)
        entropies = {"entropies": found.entropies, "entropy_estimator": "full"} if ENDPOINT not in os.environ else {}
        return TokenOutput(
            token_ids=found.tokens,
            log_probs=found.logprobs,
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": self.global_steps, **entropies},
        )

    async def load(self, weights, version):
        for engine in self.engines.values():
            engine.pause()
        known = {key: value.detach().clone() for key, value in weights.items()}
        found = self.policy.model.load_state_dict(known, strict=False)
        assert not found.unexpected_keys, found.unexpected_keys
        assert set(found.missing_keys) <= {"lm_head.weight"}, found.missing_keys
        for engine in self.engines.values():
            engine.resume()
        self.global_steps, self.since_load = version, 0
        if KEEP in os.environ:
            mine = {key: value.clone() for key, value in self.policy.model.state_dict().items()}
            torch.save(mine, os.path.join(os.environ[KEEP], f"step-{version}-server-{self.rank}.pt"))

    async def sleep(self, *_, **__):
        pass

    wake_up = clear_kv_cache = abort_all_requests = resume_generation = start_profile = stop_profile = sleep


class Replica(RolloutReplica):
    async def launch_servers(self):
        length = self.config.prompt_length + self.config.response_length
        server = Server.options(name=name(self.replica_rank))
        self._server_handle = server.remote(self.model_config.path, length, self.replica_rank)
        self._server_address = await self._server_handle.address.remote() or name(self.replica_rank)
        self.servers = [self._server_handle]


class Weights(BaseRollout):
    """In each rank: hands the weights that FSDP gathers to the rank's server."""

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, wire_format="named_tensors", **_):
        gathered = {}
        async for key, value in ensure_async_iterator(weights):
            gathered[key] = value.detach().cpu().float()
        server = ray.get_actor(name(os.environ.get("RANK", "0")))
        await server.load.remote(gathered, global_steps)
