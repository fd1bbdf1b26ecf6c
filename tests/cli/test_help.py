"""The help of every command tells what to write, and no value that is no choice."""

from __future__ import annotations

import pytest

from aepo.cli import COMMANDS, main
from aepo.cli.tools import TOOLS


@pytest.mark.parametrize(
    "words", [[name] for name in COMMANDS if name != "tools"] + [["tools", name] for name in TOOLS]
)
def test_it_shows_no_default_that_says_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"usage: aepo {' '.join(words)}" in shown
    assert "(default: None)" not in shown and "(default: )" not in shown and "{None}|" not in shown


def test_a_default_that_says_something_and_a_command_s_own_word_stay(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    shown = capsys.readouterr().out
    assert "(default: 128)" in shown and "--random SIZE|FILE" in shown and "--out PATH" in shown


def test_a_sentence_breaks_only_where_the_line_is_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["solve", "--help"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "--task" in line)
    assert line.strip(" │").endswith('By default the task of a run, and "atlas" for its model.')
