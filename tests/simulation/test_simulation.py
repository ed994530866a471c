"""Many small worlds, each decided by its seed: no law is broken, the same seed gives the same log, no mutant lives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.hashes import golden, lines
from tests.simulation.mutants import LAWS, MUTANTS, Mutant, tiers
from tests.simulation.seeds import LEASE_SEEDS, SEEDS_A_TEST, Template, batches, live_leases, open_template
from tests.simulation.world import Wrong

SEEDS_FOR_A_MUTANT = 100
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with open_template() as made:
        yield made


@pytest.mark.parametrize("first", batches(LEASE_SEEDS))
def test_no_law_is_broken_and_every_log_is_as_before(template: Template, first: int) -> None:
    seeds = range(first, first + SEEDS_A_TEST)
    known = golden("leases")
    assert list(lines("leases", seeds, template)) == [known[seed] for seed in seeds]


def test_every_seed_has_its_own_log() -> None:
    logs = [text.split()[3] for text in golden("leases").values()]
    assert len(set(logs)) == len(logs) == LEASE_SEEDS


def test_the_same_seed_gives_the_same_log_in_another_process() -> None:
    """Neither the order of a set nor the salt of a hash decides anything."""
    command = [sys.executable, "-m", "tests.simulation.hashes", "--seed", "3"]
    told = []
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, timeout=120)
        told.append(done.stdout.decode().splitlines())
    assert told == [[golden("leases")[3], golden("telemetry")[3]]] * 2


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_every_mutant_can_be_planted(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them are planted in the slow tier alone; what they change is looked for here as well."""
    mutant.plant(monkeypatch)


@pytest.mark.parametrize("mutant", tiers(LAWS, MUTANTS))
def test_no_mutant_lives(template: Template, mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with asyncio.Runner() as runner:
        for seed in range(SEEDS_FOR_A_MUTANT):
            try:
                runner.run(live_leases(seed, template))
            except Wrong:
                return
    pytest.fail(f"not caught by the first {SEEDS_FOR_A_MUTANT} seeds: {mutant.name}")
