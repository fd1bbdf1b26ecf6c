"""verl's client of the rollout servers; when a server dies, it uses the others."""

from __future__ import annotations

import logging
from typing import Any

from ray.exceptions import RayActorError
from verl.workers.rollout.llm_server import LLMServerClient

_log = logging.getLogger(__name__)


class SteadyClient(LLMServerClient):  # type: ignore[misc]
    """Sends a request again to another server if its server died; no token of the failed request was used.

    Attributes:
        estimator: The kind of entropies in its replies (`Generator.entropy_estimator`); "sampled" if they have none.
    """

    estimator = "sampled"

    async def _acquire_server(self, request_id: str, **extra: Any) -> Any:
        server, handle = await super()._acquire_server(request_id, **extra)
        self.__dict__.setdefault("_known", {})[handle._actor_id.hex()] = server
        return server, handle

    async def generate(self, request_id: str, **request: Any) -> Any:
        """Send a request; verl calls this method.

        Raises:
            RuntimeError: No server is left.
        """
        while True:
            try:
                return await self._ask(request_id, **request)
            except RayActorError as error:
                server = self.__dict__.get("_known", {}).get(error.actor_id)
                if server is None:
                    raise
                _log.warning("rollout server %s has died: its requests go to the others", server)
                await self._load_balancer.remove_servers.remote([server])

    async def _ask(self, request_id: str, **request: Any) -> Any:
        """Send one request to one server."""
        return await super().generate(request_id, **request)
