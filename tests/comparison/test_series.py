"""Curves of several seeds are averaged where all of them have values."""

from __future__ import annotations

import pytest

from aepo.comparison.series import POINTS, band, band_of_points, line, shares, smoothed


def test_seeds_with_the_same_points_are_averaged_point_by_point() -> None:
    found = band([([1, 2, 3], [0.0, 1.0, 2.0]), ([1, 2, 3], [1.0, 1.0, 5.0])])
    assert (found.x, found.mean) == ([1.0, 2.0, 3.0], [0.5, 1.0, 3.5])
    assert (found.low, found.high) == ([0.0, 1.0, 2.0], [1.0, 1.0, 5.0])


def test_other_points_are_read_off_straight_lines_and_nobody_is_continued() -> None:
    found = band([([0, 10], [0.0, 10.0]), ([0, 4, 20], [0.0, 0.0, 16.0])])
    assert found.x == [0.0, 4.0, 10.0]
    assert found.mean == [0.0, 2.0, (10 + 6) / 2]


def test_points_are_averaged_both_ways_and_the_last_ones_belong_together() -> None:
    found = band_of_points([([0, 10, 30], [0.1, 0.2, 0.4]), ([0, 20, 35, 40], [0.3, 0.4, 0.9, 0.8])])
    assert found.x == [0.0, 15.0, 35.0]
    assert found.mean == pytest.approx([0.2, 0.3, 0.6])
    assert (found.low, found.high) == ([0.1, 0.2, 0.4], [0.3, 0.4, 0.8])


def test_long_curves_get_a_grid() -> None:
    found = band([(range(500), [float(n) for n in range(500)])])
    assert len(found.x) == POINTS and (found.x[0], found.x[-1]) == (0.0, 499.0)
    assert found.mean == pytest.approx(found.x)


def test_a_band_needs_points() -> None:
    for lines in ([], [([], [])]):
        for make in (band, band_of_points):
            with pytest.raises(ValueError, match="a line with points for each seed"):
                make(lines)


def test_running_means_look_back_only() -> None:
    assert smoothed([1.0, 2.0, 3.0, 10.0], 2) == [1.0, 1.5, 2.5, 6.5]


def test_a_metric_against_another_leaves_out_rows_without_it() -> None:
    rows = [{"eval/success": 0.1}, {"budget/x": 5.0, "eval/success": 0.2}, {"budget/x": 7.0, "eval/success": None}]
    assert line(rows, "budget/x", "eval/success") == ([0.0, 5.0], [0.1, 0.2])


def test_shares_of_histograms_add_up() -> None:
    assert shares([{"2": 1, "10": 1}, {"2": 2}]) == {2: 0.75, 10: 0.25}
    assert list(shares([{"10": 1, "2": 1}])) == [2, 10]
    assert shares([]) == shares([{}]) == {}
