"""Many small worlds, each decided by its seed: no law is broken, the same seed gives the same log, no mutant lives."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.laws import check_laws
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import World, Wrong
from tests.support.backends import SqliteBackend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds

SEEDS = 300
SEEDS_A_TEST = 20
SEEDS_FOR_A_MUTANT = 100
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def template() -> Iterator[tuple[Path, tuple[int, str]]]:
    """A store with one organisation, to be copied: making one costs more than a whole world."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), asyncio.run(make_template(Path(folder)))


async def make_template(folder: Path) -> tuple[int, str]:
    """Number and id of the organisation."""
    store = await SqliteBackend.fresh(folder).open(FakeClock(), SeededIds())
    made = await store.org_create(*identity(1))
    await store.close()
    return made.org, made.org_id


async def run_seed(seed: int, template: tuple[Path, tuple[int, str]]) -> str:
    """Lives one world through; its log's hash. Raises Wrong."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        shutil.copy(template[0] / "towerlog.db", home)
        world = World(seed, home, template[1])
        await world.open()
        try:
            await world.live()
            await check_laws(world)
            return await world.log_hash()
        except AssertionError as broken:
            steps = "\n".join(f"{number:3} {step}" for number, step in enumerate(world.told, start=1))
            raise Wrong(f"seed {seed}: {broken}\n{steps}") from broken
        finally:
            await world.close()


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_no_law_is_broken(template: tuple[Path, tuple[int, str]], first: int) -> None:
    with asyncio.Runner() as runner:
        for seed in range(first, first + SEEDS_A_TEST):
            runner.run(run_seed(seed, template))


def test_the_same_seed_gives_the_same_log(template: tuple[Path, tuple[int, str]]) -> None:
    with asyncio.Runner() as runner:
        hashes = [[runner.run(run_seed(seed, template)) for seed in range(10)] for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 10


def test_the_same_seed_gives_the_same_log_in_another_process(template: tuple[Path, tuple[int, str]]) -> None:
    """Neither the order of a set nor the salt of a hash decides anything."""
    command = [sys.executable, "-m", "tests.simulation.test_simulation", "3"]
    told = []
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, timeout=120)
        told.append(done.stdout.decode().strip())
    assert told == [asyncio.run(run_seed(3, template))] * 2


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_no_mutant_lives(
    template: tuple[Path, tuple[int, str]], mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.plant(monkeypatch)
    with asyncio.Runner() as runner:
        for seed in range(SEEDS_FOR_A_MUTANT):
            try:
                runner.run(run_seed(seed, template))
            except Wrong:
                return
    pytest.fail(f"not caught by the first {SEEDS_FOR_A_MUTANT} seeds: {mutant.name}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        told = asyncio.run(run_seed(int(sys.argv[1]), (Path(made), asyncio.run(make_template(Path(made))))))
        sys.stdout.write(told)
