"""The shop as an environment: each trajectory has a visit of its own, and the reward is the order at its end."""

from __future__ import annotations

import functools
import random
from typing import Any

from playwright.async_api import Page

from aepo import Sample, Task, environment
from aepo.environments.browser import Browser, serve
from examples.shop.site import DELIVERIES, USUAL, Failures, site
from examples.shop.store import COLOURS, KINDS, STYLES, Line, Order, Store

HOST = "shop.test"
NAMES = ("Ada Berg", "Noor Haddad", "Lin Wei", "Tomas Silva")
STORE = Store()


@functools.cache
def served(failures: Failures = USUAL) -> str:
    """Serve the shop once; gives host and port."""
    return serve(site(STORE, failures))


class Shop(Browser):
    """A visit to the shop."""

    def __init__(self, failures: Failures = USUAL) -> None:
        """Serve the shop if no other visit does."""
        super().__init__({HOST: served(failures)})
        self._visit = ""
        self._wanted: Order | None = None

    async def reset(self, wanted: dict[str, Any], seed: int) -> str:  # type: ignore[override]
        """Enter the shop.

        Args:
            wanted: The order that is asked for, as `question` makes it.
            seed: The seed of what fails.
        """
        line = Line(wanted["article"], wanted["colour"], wanted["number"])
        self._wanted = Order(wanted["name"], wanted["delivery"], (line,))
        return await super().reset(f"http://{HOST}/enter?seed={seed}", seed)

    def get_reward(self) -> float:
        """1 if what was ordered is what was asked for, 0 if not."""
        return float(self._wanted is not None and STORE.order(self._visit) == self._wanted)

    async def close(self) -> None:
        """Leave the shop."""
        await super().close()
        STORE.leave(self._visit)

    async def _after(self, page: Page) -> None:
        # The visit is known to the browser only: pages never show it, so that all replays look alike.
        self._visit = next((c["value"] for c in await page.context.cookies() if c["name"] == "visit"), "")
        self.done = STORE.order(self._visit) is not None


def shop(questions: int = 32, held_out: int = 8) -> Task:
    """The task; the reward is the order at the end."""
    samples = [question(number) for number in range(questions + held_out)]
    world = environment(Shop, timeout=60, reset_timeout=120, max_open=16, sandboxed=True)
    return Task("shop", samples[:questions], held_out=samples[questions:], environment=world)


def question(number: int) -> Sample:
    """A question with what is wanted."""
    draw = random.Random(number)
    style, kind, colour, name = draw.choice(STYLES), draw.choice(KINDS), draw.choice(COLOURS), draw.choice(NAMES)
    count, delivery = draw.randint(1, 3), draw.choice(DELIVERIES)
    ((article, _, _),) = STORE.find((style, kind))
    wanted = {"article": article, "colour": colour, "number": count, "name": name, "delivery": delivery}
    text = f'Buy {count} x "{style} {kind}" in {colour} for {name}, delivery: {delivery}. Order nothing else.'
    return Sample(text, id=f"shop-{number}", metadata={"wanted": wanted})
