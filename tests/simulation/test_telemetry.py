"""Senders that only report, in many small worlds: nothing lost, nothing counted twice, nobody given up who speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.hashes import golden, lines
from tests.simulation.mutants import Mutant, tiers
from tests.simulation.seeds import SEEDS_A_TEST, TELEMETRY_SEEDS, Template, batches, live_telemetry, open_template
from tests.simulation.world import Wrong
from towerlog.ambient import ServingTime
from towerlog.engine.control import receipts, rights
from towerlog.engine.ingest import dedupe
from towerlog.engine.timers import cancels, silence
from towerlog.model import ledger
from towerlog.projections import clients, runs

SEEDS_FOR_A_MUTANT = 60


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with open_template() as made:
        yield made


@pytest.mark.parametrize("first", batches(TELEMETRY_SEEDS))
def test_reports_are_kept_once_and_every_log_is_as_before(template: Template, first: int) -> None:
    seeds = range(first, first + SEEDS_A_TEST)
    known = golden("telemetry")
    assert list(lines("telemetry", seeds, template)) == [known[seed] for seed in seeds]


MUTANTS = (
    Mutant("late numbers are not counted", runs.fold, "if event.facts.client_id is not None:", "if not event.late:"),
    Mutant("what was given up is missing", ledger.Ledger.with_dropped, "dropped = _with(dropped, one)", "pass"),
    Mutant("what came after all stays dropped", ledger.Ledger.with_received, "if self.dropped else", "if False else"),
    Mutant("a stranger's numbers count", rights.numbered, "if reporter_key != caller and", "if False and"),
    Mutant("a stranger's numbers are whoever's who starts", clients.under, " if ledger.key is not None", ""),
    Mutant("a clock that was set is believed", ServingTime.now, "> JUMP_MS", "> 10**15"),
    Mutant("who was not there judges", ServingTime.__init__, "[_Span(self._told_ms,", "[_Span(0,"),
    Mutant("nobody is given up", silence.SilentRuns.sweep, "if lost_ms:", "if False:"),
    Mutant("a word does not end a silence", runs.fold_plain, "silent_at=None,", ""),
    Mutant("a delivery is not on record", receipts.mark_delivered, "if not command.delivered:", "if False:"),
    Mutant("a repeat is news", dedupe.seen_before, "if event is None:", "if True:"),
    Mutant("no cancel is forced", cancels.OverdueCancels._force_cancel, "< self._deadline_ms", "< 10**15"),
    Mutant("an end is not the last word", runs.fold, "if event.late:", "if False:"),
    Mutant(
        "whoever reports is told",
        rights.may_be_told,
        "and is_revoked(plan, principal, key_id)",
        "",
    ),
    Mutant(
        "who was heard first is told for ever", rights.makes_reporter, "return row.implicit and", "return False and"
    ),
    Mutant("whoever says that it starts is told", rights.makes_reporter, "return row.implicit and", "return"),
    Mutant("what is wanted is told in a batch", receipts._told_of, " or not may_be_told(plan, principal, row)", ""),
)


LAWS = {
    "numbers tell what is missing": (
        "a stranger's numbers count",
        "late numbers are not counted",
        "what was given up is missing",
        "what came after all stays dropped",
        "a stranger's numbers are whoever's who starts",
    ),
    "silence is judged by time that has really passed": (
        "a clock that was set is believed",
        "who was not there judges",
    ),
    "silence ends, by a word or by giving up": ("nobody is given up", "a word does not end a silence"),
    "what is wanted is delivered and on record": ("a delivery is not on record",),
    "what is wanted is told to the key that reports the run": (
        "whoever reports is told",
        "who was heard first is told for ever",
        "whoever says that it starts is told",
        "what is wanted is told in a batch",
    ),
    "the same again adds nothing": ("a repeat is news",),
    "a cancel that is not heeded is forced": ("no cancel is forced",),
    "what comes after the end changes nothing": ("an end is not the last word",),
}
"""Law → the mutants that break it; the quick tier plants the first of each, the slow tier all."""


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
                runner.run(live_telemetry(seed, template))
            except Wrong:
                return
    pytest.fail(f"not caught by the first {SEEDS_FOR_A_MUTANT} seeds: {mutant.name}")
