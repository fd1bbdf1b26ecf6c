"""Figures are files that hold what they were given, with every entry told apart in more than colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aepo.comparison import figures
from aepo.comparison.series import band

TWELVE = [f"entry-{n}" for n in range(12)]
BANDS = {label: band([([1, 2, 3], [0.1, 0.2, 0.3 + n / 50]), ([1, 2, 3], [0.2] * 3)]) for n, label in enumerate(TWELVE)}
LOOKS = figures.looks_of(TWELVE)
SHARES = {label: [{1: 0.6, 2: 0.4}, {1: 0.7, 3: 0.3}] for label in TWELVE}
DRAWN: list[tuple[str, Any]] = [
    ("success", lambda: figures.success_by("sampled tokens", BANDS, LOOKS)),
    ("entropy", lambda: figures.policy_entropy(BANDS, LOOKS, 0.2, 0.3)),
    ("entropy-without-band", lambda: figures.policy_entropy(BANDS, LOOKS, 0.2, None)),
    ("clip", lambda: figures.clip_fractions(BANDS, BANDS, LOOKS)),
    ("branches", lambda: figures.branch_concentration(BANDS, LOOKS)),
    ("diversity", lambda: figures.diversity(BANDS, BANDS, LOOKS)),
    ("runs", lambda: figures.high_entropy_runs(SHARES)),
    ("m", lambda: figures.global_samples(SHARES)),
]


@pytest.mark.parametrize(("name", "draw"), DRAWN, ids=[name for name, _ in DRAWN])
def test_a_figure_is_two_files_that_name_every_entry(tmp_path: Path, name: str, draw: Any) -> None:
    figure = draw()
    words = {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}
    assert set(TWELVE) <= words
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_ylabel()
    figures.save(figure, tmp_path, name)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / f"{name}.svg").read_text()
    assert svg.rstrip().endswith("</svg>") and len(svg) > 5_000
    figures.save(draw(), tmp_path, "again")
    assert (tmp_path / "again.svg").read_text() == svg, "equal data give equal files"


def test_no_two_of_many_lines_look_alike_even_in_grey() -> None:
    looks = figures.looks_of([str(n) for n in range(36)])
    assert len({(repr(look.style), look.marker) for look in looks.values()}) == 36


def test_an_entry_looks_alike_whoever_else_is_drawn() -> None:
    few = {label: BANDS[label] for label in TWELVE[3:5]}
    (axes,) = figures.branch_concentration(few, LOOKS).axes
    drawn = {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert drawn == {label: (LOOKS[label].colour, LOOKS[label].marker) for label in few}


def test_lines_are_means_and_bands_the_spread() -> None:
    bands = {"a": band([([1, 2], [1.0, 3.0]), ([1, 2], [2.0, 5.0])])}
    (axes,) = figures.policy_entropy(bands, figures.looks_of(["a"]), 1.0, None).axes
    assert list(axes.get_lines()[0].get_ydata()) == [1.5, 4.0]
    (spread,) = axes.collections
    assert spread.get_paths()[0].get_extents().bounds == (1.0, 1.0, 1.0, 4.0)


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "aepo-rl\[plots\]", or leave them out with --no-figures'):
        figures.require()
