"""Senders that only report, in many small worlds: nothing lost, nothing counted twice, nobody given up who speaks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.mutants import Mutant
from tests.simulation.telemetry import Reporting
from tests.simulation.test_simulation import make_template
from tests.simulation.world import Wrong
from towerlog.engine.commands import receipts
from towerlog.engine.ingest import dedupe
from towerlog.engine.timers import loop, silence
from towerlog.model import ledger
from towerlog.projections import runs

SEEDS = 120
SEEDS_A_TEST = 20
SEEDS_FOR_A_MUTANT = 60

Template = tuple[Path, tuple[int, str]]


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    """A store with one organisation, to be copied."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), asyncio.run(make_template(Path(folder)))


async def run_seed(seed: int, template: Template) -> None:
    """Lives one world through. Raises Wrong."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        shutil.copy(template[0] / "towerlog.db", home)
        world = Reporting(seed, home, template[1])
        await world.open()
        try:
            await world.live()
        except AssertionError as broken:
            raise Wrong("\n".join([f"seed {seed}: {broken}", *world.told])) from broken
        finally:
            await world.close()


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_reports_are_kept_once_and_counted(template: Template, first: int) -> None:
    with asyncio.Runner() as runner:
        for seed in range(first, first + SEEDS_A_TEST):
            runner.run(run_seed(seed, template))


MUTANTS = (
    Mutant("late numbers are not counted", runs.fold, "if facts.client_id is not None:", "if not event.late:"),
    Mutant("what was given up is missing", ledger.Ledger.with_dropped, "dropped = _with(dropped, one)", "pass"),
    Mutant("what came after all stays dropped", ledger.Ledger.with_received, "if self.dropped else", "if False else"),
    Mutant("a clock that was set is believed", silence.SilenceWatch._note_jump, "> JUMP_MS", "> 10**15"),
    Mutant(
        "who was not there judges", silence.SilenceWatch.sweep, "self._clock.steady_ms(), shorter", "10**15, shorter"
    ),
    Mutant("nobody is given up", silence.SilenceWatch.sweep, "if lost_ms:", "if False:"),
    Mutant("a word does not end a silence", runs.fold_plain, "silent_at=None, ", ""),
    Mutant("a delivery is not on record", receipts.delivered, "if not command.delivered:", "if False:"),
    Mutant("a repeat is news", dedupe.seen_before, "if event is None:", "if True:"),
    Mutant("no cancel is forced", loop.Upkeep._force_cancel, "< self._cancel_deadline_ms", "< 10**15"),
    Mutant("an end is not the last word", runs.fold, "if event.late:", "if False:"),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_no_mutant_lives(template: Template, mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with asyncio.Runner() as runner:
        for seed in range(SEEDS_FOR_A_MUTANT):
            try:
                runner.run(run_seed(seed, template))
            except Wrong:
                return
    pytest.fail(f"not caught by the first {SEEDS_FOR_A_MUTANT} seeds: {mutant.name}")
