"""A rollout server's own HTTP interface gives what verl's call does, with entropies; what it cannot give is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import torch

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from ray.exceptions import RayActorError

from aepo.config import ConfigError
from aepo.core.entropy import topk_entropy
from aepo.engines.stopping import Stopping, vocabulary_texts
from aepo.engines.verl import client, endpoint
from aepo.engines.verl.generator import ServedGenerator
from aepo.engines.verl.sources import EntropySource, choose
from aepo.rollout.generator import Stop
from tests.engines.openai.conftest import Serve, no_proxy, serve  # noqa: F401
from tests.engines.openai.server import ModelServer, reset, say

ASKED = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "logprobs": True, "max_tokens": 6, "stop_token_ids": []}


class Remote:
    """A method of a Ray actor; it is called whether its result is awaited or not."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def remote(self, *arguments: Any, **named: Any) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(self.method(*arguments, **named))
        return done


class Actor:
    """A rollout server's process: what it answers verl's call with, and whose weights it has."""

    def __init__(self, number: int, **extra: Any) -> None:
        self.global_steps, self.alive, self.extra = 3, True, extra
        self._actor_id = number.to_bytes(16)
        self.__ray_call__ = Remote(self._call)
        self.generate = Remote(self._generate)

    def _call(self, ask: Callable[[Any], Any]) -> Any:
        if not self.alive:
            raise RayActorError(self._actor_id.hex(), "it died")
        return ask(self)

    def _generate(self, **_: Any) -> Any:
        return SimpleNamespace(token_ids=[1], log_probs=[-0.5], stop_reason="completed", extra_fields=dict(self.extra))


class Servers:
    """verl's manager and its load balancer, which takes the first server that is left."""

    def __init__(self, *served: ModelServer, **extra: Any) -> None:
        addresses = [one.url.removeprefix("http://").removesuffix("/v1") for one in served]
        self.actors = {address: Actor(number, **extra) for number, address in enumerate(addresses)}
        self.left = dict(self.actors)
        self.released: list[str] = []
        for name in ("acquire_server", "release_server", "remove_servers"):
            setattr(self, name, Remote(getattr(self, f"_{name}")))
        self.require_acquire_fields = self.require_release_fields = Remote(list)

    def _acquire_server(self, request_id: str) -> Any:
        return next(iter(self.left.items()))

    def _release_server(self, server_id: str) -> None:
        self.released.append(server_id)

    def _remove_servers(self, names: list[str]) -> None:
        for name in names:
            del self.left[name]

    def get_addresses(self) -> list[str]:
        return list(self.actors)

    def get_client(self, client_cls: type, **named: Any) -> Any:
        rollout = SimpleNamespace(name="vllm", full_determinism=False)
        config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))
        return client_cls(config=config, load_balancer_handle=self, **named)


def source(wanted: str, servers: Servers, tokenizer: Any, temperature: float = 1.0) -> EntropySource:
    config = SimpleNamespace(name="vllm", temperature=temperature, max_num_seqs=8)
    return choose(wanted, servers, config, tokenizer)


def drawn(one: EntropySource, prompt: list[int], times: int = 1, **changes: Any) -> Any:
    async def main() -> Any:
        for _ in range(times):
            output = await one.client.generate("q", prompt_ids=prompt, sampling_params={**ASKED, **changes})
        return output

    return anyio.run(main)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_tokens_logprobs_and_entropies_are_those_of_the_model(kind: str, serve: Serve, loaded: Any):  # noqa: F811
    server = serve(kind)
    servers = Servers(server)
    one = source("auto", servers, loaded.tokenizer)
    assert one.told()["name"] == "endpoint"
    assert one.told()["refused"] == {"replica": "replies of rollout servers vllm have none"}
    prompt = loaded.tokenizer.encode("<|user|>ab<|assistant|>")
    output = drawn(one, prompt)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([prompt + output.token_ids])).logits[0, len(prompt) - 1 : -1]
    logp = torch.log_softmax(logits[:, : len(loaded.tokenizer)].double(), -1)
    assert output.log_probs == pytest.approx([float(row[t]) for row, t in zip(logp, output.token_ids, strict=True)])
    assert output.extra_fields["entropies"] == pytest.approx(topk_entropy(logp.topk(20).values).tolist(), abs=1e-5)
    assert output.extra_fields["global_steps"] == 3
    assert len(output.token_ids) == 6
    assert servers.released[-1] == next(iter(servers.actors))


def test_each_request_has_a_seed_of_its_own(serve: Serve, loaded: Any):  # noqa: F811
    """Else the branches of a tree would be one branch, many times."""
    server = serve()
    one = source("endpoint", Servers(server), loaded.tokenizer)
    server.asked.clear()
    drawn(one, [3, 4], times=3)
    assert len({body["seed"] for body in server.requests()}) == 3


def test_a_reply_that_two_sets_of_weights_drew_is_asked_for_again(
    serve: Serve,  # noqa: F811
    loaded: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(endpoint.anyio, "sleep", lambda _: asyncio.sleep(0))
    server = serve()
    servers = Servers(server)
    one = source("endpoint", servers, loaded.tokenizer)
    [actor] = servers.actors.values()

    def updated(handler: Any) -> None:
        actor.global_steps = 4
        say(handler, *server.answer("/v1/completions", server.asked[-1][1]))

    server.asked.clear()
    server.faults.append(updated)
    output = drawn(one, [3, 4])
    assert [body["prompt"] for body in server.requests()] == [[3, 4], [3, 4]]
    assert output.extra_fields["global_steps"] == 4


def test_a_request_that_the_server_gave_up_is_asked_for_again(
    serve: Serve,  # noqa: F811
    loaded: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(endpoint.anyio, "sleep", lambda _: asyncio.sleep(0))
    server = serve()
    one = source("endpoint", Servers(server), loaded.tokenizer)
    part = {"choices": [{"text": "", "token_ids": [5], "finish_reason": "abort", "logprobs": None}]}
    server.asked.clear()
    server.faults.append(lambda handler: say(handler, 200, part))
    assert len(drawn(one, [3, 4]).token_ids) == 6
    assert [body["prompt"] for body in server.requests()] == [[3, 4], [3, 4]]


def test_a_dead_servers_requests_go_to_the_others(
    serve: Serve,  # noqa: F811
    loaded: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("aepo.engines.openai.client.ATTEMPTS", 1)
    first, second = serve(), serve()
    servers = Servers(first, second)
    one = source("endpoint", servers, loaded.tokenizer)
    actor = next(iter(servers.actors.values()))

    def die(handler: Any) -> None:
        actor.alive = False
        reset(handler)

    first.faults.append(die)
    second.asked.clear()
    assert len(drawn(one, [3, 4]).token_ids) == 6
    assert len(second.requests()) == 1
    assert list(servers.left) == list(servers.actors)[1:]


def test_a_replica_that_gives_entropies_comes_first(serve: Serve, loaded: Any):  # noqa: F811
    servers = Servers(serve(), entropies=[0.7], entropy_estimator="topk")
    one = source("auto", servers, loaded.tokenizer)
    assert one.told() == {"name": "replica", "estimator": "topk", "refused": {}}
    assert type(one.client) is client.SteadyClient
    assert source("endpoint", servers, loaded.tokenizer).name == "endpoint"
    # Asked for, the last resort is taken though there is better.
    last = source("logprob", servers, loaded.tokenizer)
    assert (last.name, last.client.estimator) == ("logprob", "sampled")
    engine = ServedGenerator(last.client, {"temperature": 1.0}, lambda _: free(loaded.tokenizer))
    assert anyio.run(engine.sample, engine.open([3], 1), 1, Stop()).entropies == [0.5]


def free(tokenizer: Any) -> Stopping:
    return Stopping(Stop(), tokenizer, vocabulary_texts(tokenizer))


@pytest.mark.parametrize(
    ("settings", "temperature", "why"),
    [
        ({"most": 0}, 1.0, "tells of no likely tokens"),
        ({"raw": True}, 0.7, "counts at temperature 1, but with --logprobs-mode processed_logprobs at any"),
        ({"kind": "text"}, 1.0, "takes and gives no token ids"),
    ],
    ids=["none", "temperature", "text"],
)
def test_what_the_interface_does_not_give_is_refused_by_name_and_passed_over_by_auto(
    settings: dict[str, Any],
    temperature: float,
    why: str,
    serve: Serve,  # noqa: F811
    loaded: Any,
):
    servers = Servers(serve(**settings))
    with pytest.raises(ConfigError, match=rf"verl\.entropy_source cannot be endpoint: .*{why}"):
        source("endpoint", servers, loaded.tokenizer, temperature)
    with pytest.raises(ConfigError, match=r"verl\.entropy_source cannot be replica: replies of .* have none"):
        source("replica", servers, loaded.tokenizer, temperature)
    one = source("auto", servers, loaded.tokenizer, temperature)
    assert (one.name, one.client.estimator, list(one.refused)) == ("logprob", "sampled", ["replica", "endpoint"])


def test_sampling_from_a_part_of_the_distribution_is_refused(serve: Serve, loaded: Any):  # noqa: F811
    one = source("endpoint", Servers(serve()), loaded.tokenizer)
    with pytest.raises(ValueError, match=r"cannot have top_p 0\.9"):
        drawn(one, [3, 4], top_p=0.9)
