"""The reference has every public name, setting and command, with what the docstrings say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import aepo
from aepo.algorithms import AnyAlgorithm
from aepo.cli import COMMANDS
from aepo.config import Config, flat

griffe = pytest.importorskip("griffe")
from website import check, markdown, pages, reference  # noqa: E402


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    reference.write_all(target)
    return target / "reference"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A package of a few lines, as griffe knows it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.py").write_text(SMALL, encoding="utf-8")
    return griffe.load("small", search_paths=[folder], docstring_parser="google")


SMALL = '''"""A module about <angles>."""

LIMIT = 3


class Thing:
    """One thing.

    Attributes:
        size: How large [0, 1].
    """

    size: float = 0.5

    def grow(self, by: float = 1.0, *, often: int) -> float:
        """Make it larger.

        A formula:

            size = size * by

        Args:
            by: Factor.
            often: How often; 2 * 3 * 4
                is more.

        Returns:
            The new size.

        Raises:
            ValueError: `by` is negative.
        """

    def _hidden(self) -> None:
        """Not for others."""
'''


def test_every_public_name_is_explained(written: Path) -> None:
    pages_of = {
        name: (written / f"{name}.md").read_text(encoding="utf-8")
        for name in ("aepo", "algorithms", "environments", "rewards")
    }
    for name in set(aepo.__all__) - {"environments", "rewards"}:
        assert any(f"### `{name}` {{ #aepo" in page for page in pages_of.values()), name
    for name in aepo.rewards.__all__:
        assert f"### `{name}` {{ #aepo.rewards.{name} }}" in pages_of["rewards"]


def test_every_module_of_core_has_a_page_with_its_functions(written: Path) -> None:
    modules = {path.stem for path in (pages.ROOT / "src" / "aepo" / "core").glob("*.py")} - {"__init__"}
    assert {path.stem for path in (written / "core").glob("*.md")} == modules
    text = (written / "core" / "advantages.md").read_text(encoding="utf-8")
    assert "### `entropy_aware` { #aepo.core.advantages.entropy_aware }" in text
    assert "(../../source/src/aepo/core/advantages.py.md#__codelineno-0-" in text
    assert "_wide" not in text


def test_every_setting_is_listed_with_its_default(written: Path) -> None:
    text = (written / "config.md").read_text(encoding="utf-8")
    for key in flat(Config().model_dump(mode="json")):
        assert f"| `{key}` |" in text, key
    row = '| `train.learning_rate` | a number above 0, or auto | `"auto"` | AdamW\'s learning rate after the warm-up'
    assert row in text
    for model in get_args(get_args(AnyAlgorithm)[0]):
        assert f"### `{model.model_fields['name'].default}`" in text
    rows = list(table_rows(text))
    assert rows and all(meaning for _, _, meaning in rows), [key for key, _, meaning in rows if not meaning]


def table_rows(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        if line.startswith("| `"):
            _, key, _, default, meaning, _ = (cell.strip() for cell in line.replace(r"\|", "/").split("|"))
            yield key, default, meaning


def test_every_command_is_listed_with_its_arguments(written: Path) -> None:
    text = (written / "command_line.md").read_text(encoding="utf-8")
    for name in COMMANDS.keys() - {"tools"}:
        assert f"## `aepo {name}` {{ #{name} }}" in text
    assert "## `aepo tools index` { #tools-index }" in text
    assert "| `--dry-run` |  | Load everything, print" in text
    assert "| `--no-greedy` |" in text and "| `--samples` | `5` |" in text and "| `OVERRIDES` ... |  |" in text


def test_every_page_is_in_the_navigation(written: Path) -> None:
    found = {path.relative_to(written.parent).with_suffix(".html").as_posix() for path in written.rglob("*.md")}
    assert found == {name for name in check.navigation() if name.startswith("reference/")}


def test_a_docstring_becomes_signature_text_and_lists(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_file", lambda member: "small.py")
    text, files = reference.module(made, reference.public(made))
    assert files == {"small.py"} and "_hidden" not in text
    assert text.startswith("# `small`\n\nA module about &lt;angles>.\n")
    assert "- `size` `float = 0.5`: How large \\[0, 1\\]." in text
    assert "#### `Thing.grow` { #small.Thing.grow }" in text
    assert "def grow(by: float = 1.0, *, often: int) -> float" in text
    assert "\n    size = size * by\n" in text
    assert "- `often`: How often; 2 \\* 3 \\* 4 is more." in text
    assert "**Returns**\n\n- The new size.\n" in text
    assert "- `ValueError`: `by` is negative." in text
    assert "LIMIT = 3" in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a < b", "a &lt; b"),
        ("`a < b`", "`a < b`"),
        ("ask http://host:port/v1, or", "ask `http://host:port/v1`, or"),
        ("a\n  b", "a b"),
        ("https://arxiv.org", "https://arxiv.org"),
    ],
    ids=["angle", "code", "address", "lines", "link"],
)
def test_text_of_a_docstring_is_shown_as_it_is_meant(given: str, shown: str) -> None:
    assert markdown.one_line(given) == shown
