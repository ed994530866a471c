"""Which test files begin first when several processes share the work: those that take longest."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LONGEST = ("tests/simulation/test_simulation.py",)
"""Files that take more than about ten seconds, longest first. All others follow in their usual order."""


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts tests by their file; those of one file stay together and keep their order."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
