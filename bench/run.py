"""`make bench`: measures towerlog beside the bare floor, prints one table and writes results.json. Owns the order.

A scenario that cannot be run becomes a row that says why; the others go on, and the exit code is 1.
A threshold that is not reached is told in the table and does not change the exit code.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Started as a file, Python looks beside it for modules; the package is one folder up.
# ruff: noqa: E402
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import compiled, environment, report
from bench.context import FULL, QUICK, Context
from bench.figures import Row
from bench.profiler import Profiler
from bench.scenarios import SCENARIOS, WITH_FLOOR
from bench.ways import BATCH_WAYS, SINGLE_WAYS

PARTIAL_RESULTS = compiled.BUILD_DIR / "results-partial.json"
PROFILE_DIR = compiled.BUILD_DIR / "profiles"


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure towerlog beside the bare floor.")
    parser.add_argument("--quick", action="store_true", help="short rounds and small counts: a check that all runs")
    parser.add_argument("--only", action="append", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    ways = sorted({way.name for way in (*SINGLE_WAYS, *BATCH_WAYS)})
    parser.add_argument("--way", choices=ways, help="in single and batch, only this way in")
    parser.add_argument("--floor-only", action="store_true", help="the floor alone: what the machine can do")
    parser.add_argument("--profile", action="store_true", help="py-spy the server, into build/profiles/")
    parser.add_argument("--work-dir", type=Path, help="where the stores are made; put it on the disk you mean to use")
    parser.add_argument("--out", type=Path, help="default results.json, or build/results-partial.json for a part")
    return parser.parse_args()


def chosen_scenarios(options: argparse.Namespace) -> list[str]:
    """The names to run, in the table's order."""
    names = [name for name in SCENARIOS if not options.only or name in options.only]
    return [name for name in names if name in WITH_FLOOR] if options.floor_only else names


def results_path(options: argparse.Namespace) -> Path:
    """A part of the bench never overwrites the results of the whole."""
    if options.out:
        return Path(options.out)
    partial = options.quick or options.only or options.way or options.floor_only or options.profile
    return PARTIAL_RESULTS if partial else report.RESULTS


def say(line: str) -> None:
    """Progress, beside the table and not in it."""
    print(line, file=sys.stderr, flush=True)


def measure(name: str, context: Context) -> list[Row]:
    """The rows of a scenario, or the one row that says why there are none."""
    say(f"{name} …")
    try:
        return SCENARIOS[name](context)
    except Exception as problem:
        # Whatever goes wrong in one scenario must not cost the figures of the others.
        return [Row(name, name, "", problem=f"{type(problem).__name__}: {problem}")]


def raise_open_files() -> None:
    """As many open files as may be had; the servers and tools inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def write_results(path: Path, results: dict[str, Any]) -> None:
    """One JSON document, replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    fresh.replace(path)


def main() -> int:
    """Run the scenarios, print the table, write the results."""
    options = parse_options()
    raise_open_files()
    for tool in ("loadgen", "fanout"):
        compiled.built(tool)
    profiler = Profiler(PROFILE_DIR if options.profile else None)
    if profiler.missing:
        say("py-spy is not installed, so there will be no profile")
    started = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="towerlog-bench-", dir=options.work_dir) as work_dir:
        where = environment.describe(Path(work_dir))
        effort = QUICK if options.quick else FULL
        context = Context(effort, Path(work_dir), say, profiler, options.way, options.floor_only)
        for name in chosen_scenarios(options):
            rows += measure(name, context)
    if options.floor_only:
        rows = [replace(row, threshold=None) for row in rows]
    results = {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "took_seconds": round(time.monotonic() - started, 1),
        "quick": options.quick,
        "environment": where,
        "rows": [row.as_json() for row in rows],
    }
    path = results_path(options)
    write_results(path, results)
    print(report.table(results["rows"]))
    print(f"\n{report.summary(results['rows'])} Details: {path}")
    return 1 if any(row.problem for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
