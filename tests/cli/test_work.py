"""`towerlog usage`: its columns mean what the same columns of `towerlog runs ls` mean."""

from __future__ import annotations

from towerlog.cli.work import USAGE_FIGURES, _figures
from towerlog.sdk.api.fleet_shapes import UsageTotal


def shown(**tokens: int) -> dict[str, str]:
    """The row of a total, by the heads of its columns."""
    row = _figures(UsageTotal.read({"usage": tokens}))
    return {column.title: cell for column, cell in zip(USAGE_FIGURES, row, strict=True)}


def test_in_and_out_are_all_of_it_with_their_parts_beside_them() -> None:
    row = shown(input_tokens=10, cached_input_tokens=85, cache_write_tokens=5, output_tokens=4, reasoning_tokens=1)
    assert (row["IN"], row["CACHED"], row["OUT"], row["REASONING"]) == ("100", "85", "5", "1")


def test_what_nobody_told_is_left_empty() -> None:
    row = shown(total_tokens=7)
    assert (row["IN"], row["OUT"], row["TOTAL"]) == ("", "", "7")
    assert shown(cached_input_tokens=0)["IN"] == "0"
