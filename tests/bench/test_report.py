"""The table and the section of the docs tell what was measured, and do not hide what fell short."""

from typing import Any

import pytest

from bench import report
from bench.figures import Row

ROWS = [
    Row(
        "single", "single POST, steps", "events/s", 6_000.0, 10_000.0, "ratio", bound="at least", threshold=0.55
    ).as_json(),
    Row("single", "single POST, steps: p50", "ms", 4.25, 2.125, "ratio").as_json(),
    Row("screen", "ack to screen: p99", "ms", 61.0, threshold=50.0).as_json(),
    Row("idle", "idle", "", problem="ServerFailed: it ended\nsecond line").as_json(),
]
RESULTS: dict[str, Any] = {
    "measured_at": "2026-01-01T00:00:00Z",
    "took_seconds": 431.2,
    "quick": False,
    "environment": {
        "cores": 2,
        "cpu": "Some CPU",
        "memory_gib": 8,
        "kernel": "6.1",
        "python": "3.11.9",
        "sqlite": "3.54.0",
        "fsync_ms": 0.75,
    },
    "rows": ROWS,
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0.00"),
        (0.0123, "0.0123"),
        (0.61, "0.61"),
        (9.87, "9.87"),
        (48.36, "48.4"),
        (17_432.6, "17,433"),
    ],
)
def test_a_figure_shows_the_digits_that_mean_something(value: float | None, text: str) -> None:
    assert report.figure(value) == text


def test_a_row_shows_both_sides_the_ratio_the_threshold_and_the_verdict() -> None:
    assert report.cells(ROWS[0]) == (
        "single POST, steps",
        "10,000 events/s",
        "6,000 events/s",
        "0.60 × floor",
        "≥ 0.55 × floor",
        "ok",
    )
    assert report.cells(ROWS[2])[3:] == ("61.0 ms", "≤ 50 ms", "SHORT")


def test_a_ratio_to_something_else_than_the_floor_says_to_what() -> None:
    row = Row("governed", "calls", "events/s", 9.0, 10.0, "ratio", "without", "at least", 0.8).as_json()
    assert report.cells(row)[3:] == ("0.90 × without", "≥ 0.8 × without", "ok")
    del row["against"]
    assert report.cells(row)[3] == "0.90 × floor"


def test_the_table_has_a_line_for_each_row_and_the_reason_of_a_failure() -> None:
    lines = report.table(ROWS).splitlines()
    assert lines[0].split() == ["floor", "towerlog", "measured", "must", "be"]
    assert lines[1].startswith("single POST, steps ")
    assert lines[4].endswith("FAILED")
    assert "it ended" in lines[5]


def test_the_summary_names_what_fell_short_and_what_was_not_measured() -> None:
    text = report.summary(ROWS)
    assert text.startswith("1 of 3 thresholds reached.")
    assert "Short: ack to screen: p99." in text
    assert "Not measured: idle." in text


def test_the_section_says_where_it_was_measured_and_holds_every_row() -> None:
    section = report.markdown(RESULTS)
    assert "2 cores (Some CPU)" in section
    assert "fsync of 4 KiB 0.75 ms" in section
    assert "--quick" not in section
    for row in ROWS:
        assert f"| {row['name']} |" in section


def test_a_quick_run_is_not_passed_off_as_a_measurement() -> None:
    assert "not a measurement" in report.markdown({**RESULTS, "quick": True})


def test_the_section_replaces_what_stood_between_the_markers_and_nothing_else() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.put_between_markers(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="the page has no"):
        report.put_between_markers("no markers here", "new")


def test_sizes_are_the_figures_of_the_table_and_say_what_was_not_measured() -> None:
    rows = [Row("s", "batches of 100, sdk", "events/s", 21_700.0, 60_000.0, "ratio").as_json()]
    page = report.put_between_markers(f"{report.BEGIN}\n{report.END}\n", report.markdown({**RESULTS, "rows": rows}))
    told = report.sizes(page).splitlines()[2:]
    assert [line.split("|")[2].strip() for line in told if "not measured" not in line] == ["21,700 events/s"]
    assert len(told) == len(report.SIZES)


def test_the_page_tells_what_its_table_says_is_short_by_threshold() -> None:
    short = [
        Row("s", f"single POST, {way}", "events/s", done, 10_000.0, "ratio", bound="at least", threshold=0.55).as_json()
        for way, done in (("steps", 1000.0), ("lanes", 5000.0))
    ]
    section = report.markdown({**RESULTS, "rows": [*ROWS, *short]})
    page = report.put_between_markers(
        f"{report.BEGIN}\n{report.END}\n| no | row | of | the | table | SHORT |\n", section
    )
    assert report.falls_short(page).splitlines()[2:] == [
        "- ack to screen (≤ 50 ms): p99 61.0 ms.",
        "- single POST (≥ 0.55 × floor): steps 0.10 × floor; lanes 0.50 × floor.",
    ]
