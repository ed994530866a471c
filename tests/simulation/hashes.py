"""Fingerprints of all seeds of the simulations, to be compared before and after a change that must change nothing.

    python -m tests.simulation.hashes > after.txt            # all 420 seeds, about two minutes
    python -m tests.simulation.hashes --quick                # every 30th
    diff tests/simulation/golden_hashes.txt after.txt

A line is `kind seed last_position log_sha256 rows_sha256`. When the hashed form of the log is changed on purpose, the
positions and the last column must still be equal; write the new file with the first command.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from tests.simulation.seeds import (
    LEASE_SEEDS,
    TELEMETRY_SEEDS,
    Fingerprint,
    Template,
    live_leases,
    live_telemetry,
    open_template,
)

GOLDEN = Path(__file__).with_name("golden_hashes.txt")
QUICK_STEP = 30
"""With `--quick`, one seed of so many."""

KINDS: dict[str, tuple[int, Callable[[int, Template], Awaitable[Fingerprint]]]] = {
    "leases": (LEASE_SEEDS, live_leases),
    "telemetry": (TELEMETRY_SEEDS, live_telemetry),
}
"""Kind → how many seeds there are, and how one is lived."""


def line(kind: str, seed: int, found: Fingerprint) -> str:
    """One line of the file, without its end."""
    return f"{kind} {seed} {found.position} {found.log} {found.rows}"


def golden(kind: str) -> dict[int, str]:
    """Seed → line of the file, of one kind."""
    lines = [text for text in GOLDEN.read_text().splitlines() if text.startswith(f"{kind} ")]
    return {int(text.split()[1]): text for text in lines}


def lines(kind: str, seeds: Iterable[int], template: Template) -> Iterator[str]:
    """The lines of some seeds, computed now."""
    live = KINDS[kind][1]
    with asyncio.Runner() as runner:
        for seed in seeds:

            async def lived(seed: int = seed) -> Fingerprint:
                return await live(seed, template)

            yield line(kind, seed, runner.run(lived()))


def main(arguments: list[str]) -> int:
    """Prints the lines as they come."""
    parser = argparse.ArgumentParser(description="Fingerprints of the seeded simulations.")
    parser.add_argument("--quick", action="store_true", help=f"one seed of {QUICK_STEP}")
    parser.add_argument("--kind", choices=tuple(KINDS), help="only this kind")
    parser.add_argument("--seed", type=int, help="only this seed")
    given = parser.parse_args(arguments)
    with open_template() as template:
        for kind, (count, _) in KINDS.items():
            if given.kind not in (None, kind):
                continue
            seeds = range(0, count, QUICK_STEP if given.quick else 1)
            for text in lines(kind, seeds if given.seed is None else [given.seed], template):
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
