"""MiniWoB++: 130 small pages, each with something to be done on it (https://miniwob.farama.org).

The pages are those of the package `miniwob`, served on loopback. They run in a Chromium of this machine.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Page
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from aepo.environments.browser import Browser, serve
from aepo.environments.methods import environment
from aepo.tasks.base import Task
from aepo.types import Sample

EASY = (
    "choose-list",
    "click-button",
    "click-button-sequence",
    "click-checkboxes",
    "click-collapsible",
    "click-collapsible-2",
    "click-dialog-2",
    "click-link",
    "click-option",
    "click-tab",
    "click-tab-2",
    "click-test-2",
    "email-inbox-important",
    "enter-password",
    "enter-text",
    "enter-text-2",
    "find-word",
    "focus-text-2",
    "login-user",
    "navigate-tree",
    "search-engine",
    "social-media",
    "use-autocomplete",
    "use-spinner",
)
"""Tasks that can be done by the words on the page and few actions."""

_HOST = "miniwob.test"
# What the page adds around the problem: the last reward, a mark at each click, and the cover between two episodes.
_HIDDEN = "#reward-display, #click-canvas, #sync-task-cover { display: none !important; }"
_START = "seed => { Math.seedrandom(seed); core.EPISODE_MAX_TIME = 1e9; core.startEpisodeReal(); }"
_TOLD = "() => typeof WOB_DONE_GLOBAL === 'undefined' ? [false, 0] : [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"
_SEEDS = 1_000_000


def pages() -> Path:
    """The folder of the pages.

    Raises:
        ImportError: The package `miniwob` is not installed.
    """
    # The package itself imports Selenium and Gymnasium, which the pages do not need.
    found = importlib.util.find_spec("miniwob")
    if found is None or found.origin is None:
        raise ImportError("MiniWoB++ needs its pages: pip install 'aepo-rl[miniwob]'")
    return Path(found.origin).parent / "html"


def names() -> list[str]:
    """The names of all tasks."""
    return sorted(path.stem for path in (pages() / "miniwob").glob("*.html"))


def miniwob(tasks: Sequence[str] = EASY, problems: int = 8, held_out: int = 2, max_open: int = 16) -> Task:
    """Make the task; the reward is 1 if the page says that what it asked for is done.

    Args:
        tasks: Names of `names`.
        problems: Problems to train on, of each task.
        held_out: Problems for evaluation, of each task.
        max_open: Pages that may be open at once; two cores have work enough with 16.

    Raises:
        ImportError: The pages are not installed.
        ValueError: There is no task of that name.
    """
    tasks = [tasks] if isinstance(tasks, str) else tasks
    if unknown := set(tasks) - set(names()):
        raise ValueError(f"MiniWoB++ has no task {min(unknown)!r}")
    made = {
        split: [
            Sample("Do what is asked on the page.", id=f"{task}-{split}-{number}", metadata={"task": task})
            for task in tasks
            for number in range(count)
        ]
        for split, count in (("train", problems), ("test", held_out))
    }
    world = environment(MiniWob, timeout=60, reset_timeout=120, max_open=max_open, sandboxed=True)
    return Task("miniwob", made["train"], held_out=made["test"], environment=world)


@functools.cache
def _served() -> str:
    return serve(Starlette(routes=[Mount("/", StaticFiles(directory=pages()))]))


class MiniWob(Browser):
    """A page of MiniWoB++. The reward is 1 if the page says that the task is done."""

    def __init__(self) -> None:
        """Serve the pages if no other environment of this process does."""
        super().__init__({_HOST: _served()}, window=(320, 240), style=_HIDDEN)
        self._seed = 0
        self._reward = 0.0

    async def reset(self, task: str, seed: int) -> str:  # type: ignore[override]
        """Begin an episode.

        Args:
            task: A task of `names`.
            seed: The seed of the problem.
        """
        self._seed, self._reward = seed % _SEEDS, 0.0
        return await super().reset(f"http://{_HOST}/miniwob/{task}.html", seed)

    def get_reward(self) -> float:
        """1 if the page says that the task is done, 0 if not."""
        return float(self._reward > 0)

    async def _begin(self, page: Page) -> None:
        await page.evaluate(_START, self._seed)
        await page.context.clock.run_for(600)
        await page.wait_for_function("() => WOB_TASK_READY")

    async def _after(self, page: Page) -> None:
        if not self.done:
            self.done, self._reward = await page.evaluate(_TOLD)
