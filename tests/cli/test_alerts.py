"""`towerlog alerts` and `audit` say first what a person wants to know, and in plain words."""

from __future__ import annotations

import pytest

from towerlog.cli.alerts import ALERTS, DELIVERIES, _preview_words
from towerlog.cli.audit import COLUMNS
from towerlog.cli.tables import Column, fitted


@pytest.mark.parametrize(
    ("fired", "runs", "suppressed", "whole", "words"),
    [
        (1, 1, 0, True, "It would have fired once, in 1 run."),
        (2, 1200, 0, True, "It would have fired 2 times, in 1,200 runs."),
        (0, 3, 0, False, "It would not have fired, in 3 runs; there is more history than was looked at."),
        (1, 9, 4, True, "It would have fired once, in 9 runs; the cool-down would have kept quiet 4 more."),
    ],
)
def test_a_preview_is_told_in_a_sentence(fired: int, runs: int, suppressed: int, whole: bool, words: str) -> None:
    assert _preview_words(fired, runs, suppressed, whole=whole) == words


@pytest.mark.parametrize(
    ("columns", "widths", "wanted"),
    [
        (ALERTS, [23, 5, 20, 12, 90, 9], {"WHAT": 40}),
        (DELIVERIES, [23, 9, 9, 7, 42, 5, 60, 9], {"LAST ERROR": 36, "STATE": 9}),
        (COLUMNS, [9, 34, 12, 15, 23, 40, 60], {"WHO": 24, "ACTION": 14}),
    ],
)
def test_at_80_columns_what_a_person_wants_stays(
    columns: tuple[Column, ...], widths: list[int], wanted: dict[str, int]
) -> None:
    shown = fitted(columns, widths, [], 80)
    widths_of = {columns[place].title: widths[place] for place in shown}
    assert sum(widths_of.values()) + 2 * (len(shown) - 1) <= 80
    for title, least in wanted.items():
        assert widths_of[title] >= least
