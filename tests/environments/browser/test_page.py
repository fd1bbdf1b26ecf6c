"""What docs/browser.md shows is what happens."""

from pathlib import Path
from typing import Any

from aepo.environments import Environment
from aepo.process import event_loop
from tests.environments.browser.conftest import Site
from tests.fenced import blocks

PAGE = Path(__file__).parents[3] / "docs" / "browser.md"


def test_the_site_of_the_page_is_used_and_rewarded(site: Site) -> None:
    site.pages |= {
        "/signup": "<title>Sign up</title><form action=/thanks><label>Name <input name=n></label>"
        "<button>Send</button></form>",
        "/thanks": "<title>Thanks</title>",
    }
    (code,) = [block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == "python"]
    names: dict[str, Any] = {}
    exec(code.replace("127.0.0.1:8000", site.where), names)
    task = names["task"]
    assert isinstance(task.environment, Environment)

    async def play() -> tuple[str, str, float]:
        world = task.environment.factory()
        opening = await world.reset(**task.environment.arguments(task.samples[0]))
        await world.type(1, "Ada Berg")
        assert not world.done and world.get_reward() == 0.0
        last = await world.click(2)
        await world.close()
        return opening, last, world.get_reward()

    opening, last, reward = event_loop.run(play)
    assert opening == 'Page: Sign up\nAddress: http://forms.test/signup\n[1] textbox "Name" [2] button "Send"'
    assert last.startswith("Page: Thanks\nAddress: http://forms.test/thanks") and reward == 1.0
    assert len(task.environment.tools) == 6
