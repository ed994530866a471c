"""Results for people: owns the table that a run prints and the Markdown section made from results.json.

python bench/report.py [results.json]                       print the section
python bench/report.py --into docs/performance.md [FILE]    put it between the page's two markers; then `make docs`
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results.json"
BEGIN = "<!-- results: begin -->"
END = "<!-- results: end -->"
HEADINGS = ("", "floor", "towerlog", "measured", "must be", "")
WORDS = {"ok": "ok", "short": "SHORT", "info": "", "failed": "FAILED"}
SIGNS = {"at least": "≥", "at most": "≤"}
SIZES = {
    "single POST, steps": "Events taken in by one process on SQLite, one a request",
    "batches of 100, sdk": "The same in batches of 100",
    "PostgreSQL: single POST, steps": "Events taken in by one node on PostgreSQL, one a request",
    "PostgreSQL: batches of 100, sdk": "The same in batches of 100",
    "claims, 32 workers": "Claims of runs by workers",
    "disk of each of them, 320 B as it was sent": "Disk of an event of 320 B in SQLite, indexes included",
    "PostgreSQL: disk of each of 100,000 events, 320 B as it was sent": "The same in PostgreSQL",
    "idle memory, 1,000,000 events": "Memory of a process at rest, a million events stored",
    "9,900 idle followers: memory of each": "Memory of a follower (SSE) to which nothing comes",
}
"""Rows that say what a machine must have, and what a page for operators calls them."""


def figure(value: float | None, unit: str = "") -> str:
    """A number with three digits that mean something, and its unit; empty when there is none."""
    if value is None:
        return ""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 or size == 0 else 4
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}" if unit else text


def against(row: Mapping[str, Any]) -> str:
    """What a ratio is a ratio to; results of before had the floor alone."""
    return str(row.get("against", "floor"))


def threshold(row: Mapping[str, Any]) -> str:
    """What the row must reach, as `≥ 0.55 × floor` or `≤ 50 ms`."""
    if row["threshold"] is None:
        return ""
    unit = f"× {against(row)}" if row["compares"] == "ratio" else row["unit"]
    return f"{SIGNS[row['bound']]} {row['threshold']:g} {unit}"


def measured(row: Mapping[str, Any]) -> str:
    """The figure held against the threshold; a ratio as `0.61 × floor`, told without a threshold too."""
    if row["compares"] == "ratio":
        return f"{row['measured']:.2f} × {against(row)}" if row["measured"] is not None else ""
    return figure(row["measured"], row["unit"]) if row["threshold"] is not None else ""


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    return (
        row["name"],
        figure(row["floor"], row["unit"]),
        figure(row["towerlog"], row["unit"]),
        measured(row),
        threshold(row),
        WORDS[row["verdict"]],
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows side by side in plain text, with the reason under a row that failed."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    out = []
    for line, row in zip(lines, [None, *rows], strict=True):
        padded = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:5], widths[1:5], strict=True)), line[5]]
        out.append("  ".join(padded).rstrip())
        if row is not None and row["problem"]:
            out.append(f"    {row['problem']}")
    return "\n".join(out)


def summary(rows: Sequence[Mapping[str, Any]], *, names_short: bool = True) -> str:
    """How many thresholds were reached; `names_short`: and which were not."""
    judged = [row for row in rows if row["verdict"] != "info"]
    reached = sum(row["verdict"] == "ok" for row in judged)
    short = [row["name"] for row in judged if row["verdict"] == "short"]
    failed = [row["name"] for row in judged if row["verdict"] == "failed"]
    text = f"{reached} of {len(judged)} thresholds reached."
    if short and names_short:
        text += f" Short: {'; '.join(short)}."
    if failed:
        text += f" Not measured: {'; '.join(failed)}."
    return text


def markdown(results: Mapping[str, Any]) -> str:
    """The section for the docs."""
    where = results["environment"]
    lines = [
        f"Measured {results['measured_at']} in {results['took_seconds']:.0f} s"
        f"{' with --quick: a check that it runs, not a measurement' if results['quick'] else ''}: "
        f"{where['cores']} cores ({where['cpu']}) shared by server and load, {where['memory_gib']} GiB, "
        f"Linux {where['kernel']}, Python {where['python']}, SQLite {where['sqlite']}, "
        f"fsync of 4 KiB {where['fsync_ms']:.2f} ms.",
        "",
        "| | floor | towerlog | measured | must be | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in results["rows"]:
        lines.append("| " + " | ".join(cells(row)) + " |")
        if row["problem"]:
            lines.append(f"| *{row['problem'].splitlines()[0]}* | | | | | |")
    return "\n".join([*lines, "", summary(results["rows"], names_short=False)])


def _lines(page: str) -> Iterator[list[str]]:
    """The cells of each line of a page's table."""
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        told = [cell.strip() for cell in line.strip("|").split("|")]
        if len(told) == len(HEADINGS):
            yield told


def sizes(page: str) -> str:
    """What the table of a page says of one process, for whoever sizes a machine; or that it was not measured."""
    figures = {name: towerlog for name, _, towerlog, *_ in _lines(page)}
    lines = [f"| {words} | {figures.get(name, 'not measured')} |" for name, words in SIZES.items()]
    return "\n".join(["| | measured |", "|---|---:|", *lines])


def falls_short(page: str) -> str:
    """What the table of a page says SHORT of, a line for each threshold that several rows have."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, _, _, figure_told, must, verdict in _lines(page):
        if verdict != WORDS["short"]:
            continue
        group, _, which = name.partition(", ") if ", " in name else name.partition(": ")
        found.setdefault((group, must), []).append(f"{which} {figure_told}")
    lines = [f"- {group} ({must}): {'; '.join(rows)}." for (group, must), rows in found.items()]
    return "\n".join(["These rows of the table above do not reach their threshold:", "", *lines])


def put_between_markers(page: str, section: str) -> str:
    """The page with the section in the place that its markers keep for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{begin}\n{section}\n{end}{after}"


def main() -> int:
    """Print the section, or put it into a page."""
    parser = argparse.ArgumentParser(description="Render results.json as Markdown.")
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS)
    parser.add_argument("--into", type=Path, metavar="PAGE", help="write the section between the page's markers")
    options = parser.parse_args()
    if not options.results.exists():
        print(f"{options.results} is not there; `make bench` writes it", file=sys.stderr)
        return 1
    section = markdown(json.loads(options.results.read_text()))
    if options.into:
        options.into.write_text(put_between_markers(options.into.read_text(), section))
    else:
        print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main())
