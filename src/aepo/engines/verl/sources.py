"""Chooses the source of the explorer's entropies once, before a run's first token; the run's metadata name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aepo.config import ConfigError
from aepo.engines.openai.client import Client
from aepo.engines.openai.probe import TEXT, chosen, models, probe
from aepo.engines.verl.client import SteadyClient
from aepo.engines.verl.endpoint import EndpointClient, endpoint
from aepo.engines.verl.settings import AUTO, SOURCES
from aepo.process import event_loop


@dataclass(frozen=True)
class EntropySource:
    """The chosen source.

    Attributes:
        name: "replica" (entropies come with a server's replies), "endpoint" or "logprob".
        client: Asks the servers.
        refused: The reason why each better source is not available.
    """

    name: str
    client: SteadyClient
    refused: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Plain values for the run's metadata."""
        return {"name": self.name, "estimator": self.client.estimator, "refused": self.refused}


def choose(wanted: str, servers: Any, config: Any, tokenizer: Any) -> EntropySource:
    """The first available source, or the wanted one.

    Args:
        wanted: "auto", or the name of a source.
        servers: verl's `LLMServerManager`; its servers have their weights.
        config: verl's configuration of the rollout.
        tokenizer: The model's tokenizer.

    Raises:
        ConfigError: The wanted source is not available; the message says why.
    """
    makers = {"replica": _replica, "endpoint": _endpoint, "logprob": _logprob}
    refused: dict[str, str] = {}
    for name in SOURCES if wanted == AUTO else (wanted,):
        try:
            return EntropySource(name, event_loop.run(makers[name], servers, config, tokenizer), refused)
        except (ValueError, RuntimeError) as error:
            refused[name] = str(error)
    raise ConfigError(f"verl.entropy_source cannot be {wanted}: {refused[wanted]}; leave it out to take what there is")


async def _replica(servers: Any, config: Any, tokenizer: Any) -> SteadyClient:
    client: SteadyClient = servers.get_client(client_cls=SteadyClient)
    prompt = tokenizer.encode(TEXT, add_special_tokens=False)
    sampling = {"temperature": config.temperature, "top_p": 1.0, "top_k": -1, "max_tokens": 1, "logprobs": True}
    output = await client.generate("entropy-source", prompt_ids=prompt, sampling_params=sampling)
    if "entropies" not in output.extra_fields:
        raise ValueError(f"replies of rollout servers {config.name} have none")
    client.estimator = output.extra_fields["entropy_estimator"]
    return client


async def _endpoint(servers: Any, config: Any, tokenizer: Any) -> SteadyClient:
    served = {}
    for server in servers.get_addresses():
        async with Client(endpoint(server), concurrency=1) as client:
            model = chosen(server, await models(client), None, "prometheus.served_model_name")
            served[server] = await probe(client, model, tokenizer)
        found = served[server]
        if not found.top:
            raise ValueError(f"server {server} tells of no likely tokens")
        if not found.exact_at(config.temperature, greedy=False):
            raise ValueError(f"server {server} counts at temperature 1, but {found.dialect.tempered} at any")
    client = servers.get_client(client_cls=EndpointClient, served=served, concurrency=config.max_num_seqs)
    return client  # type: ignore[no-any-return]


async def _logprob(servers: Any, config: Any, tokenizer: Any) -> SteadyClient:
    return servers.get_client(client_cls=SteadyClient)  # type: ignore[no-any-return]
