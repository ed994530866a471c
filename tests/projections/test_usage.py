"""Roll-ups: hour × agent × model × status, what each event adds, and cells that merge."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import event, facts_of, run_row
from tests.support.fakes import START_MS
from towerlog.model.agent_share import AgentShare
from towerlog.model.event import Event
from towerlog.model.event import EventType as E
from towerlog.model.facts import Facts
from towerlog.model.run import MAX_UNPLACED, RunRow, Status
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, UsageRow
from towerlog.projections import runs as run_fold
from towerlog.projections import usage
from towerlog.projections.computed_costs import corrections

KEY = (1, 7, "a", "m", "running")
ONE = event(1, 1)
"""An event that says nothing of usage."""


def test_the_cell_of_an_event_is_where_its_run_stands_now() -> None:
    row = run_row(model="another's", status=Status.PAUSED, shares={"a": AgentShare(model="m")})
    at = 5 * usage.HOUR_MS
    assert usage.key_of(row, event(1, 1, recorded_at=at), "a") == (1, 5, "a", "m", "paused")
    assert usage.key_of(row, event(1, 1, recorded_at=at - 1), "a")[1] == 4
    assert usage.key_of(row, event(1, 1, recorded_at=at), "b")[3] == "", "no agent spends under another's model"
    assert usage.key_of(run_row(), event(1, 1, recorded_at=at), None) == (1, 5, "", "", "running")


def test_an_hour_is_that_of_the_senders_clock_where_it_is_not_absurd() -> None:
    now = 500_000 * usage.HOUR_MS
    for told, hour in ((now - 3 * usage.HOUR_MS, 499_997), (None, 500_000), (5, 500_000), (now + 600_000, 500_000)):
        assert usage.hour_of(event(1, 1, recorded_at=now, occurred_at=told)) == hour


def test_what_an_event_spent() -> None:
    before, after = run_row(usage=Usage(3)), run_row(usage=Usage(5, cost_nanos=1))
    assert usage.spent(None, after) == Usage(5, cost_nanos=1)
    assert usage.spent(before, after) == Usage(2, cost_nanos=1)
    assert usage.spent(after, after) is NO_USAGE


def test_nothing_is_spent_where_nothing_changed_wherever_the_row_comes_from() -> None:
    row = run_row(usage=Usage(input_tokens=3))
    twin = msgspec.convert(msgspec.to_builtins(row), RunRow)
    assert twin.usage is not row.usage
    assert usage.spent(row, twin) is NO_USAGE


def test_a_beginning_is_counted_in_the_cell_of_its_event_and_an_end_in_that_of_its_runs_first_model() -> None:
    running, ended = run_row(), run_row(status=Status.COMPLETED, first_model="m")
    cell = usage.fold(None, KEY, None, running, ONE)
    assert cell == UsageRow(*KEY, 1, 1, 0)
    assert usage.fold(cell, KEY, running, ended, ONE) == UsageRow(*KEY, 2, 1, 0)
    at_end = (1, usage.hour_of(ONE), "b", "m", "completed")
    assert usage.shifts(running, ended, ONE, "b") == [(at_end, 0, 0, 1)]
    assert usage.shifts(ended, ended, ONE, "b") == [], "late ones end nothing"
    assert usage.shifted(None, (at_end, 0, 0, 1)) == UsageRow(*at_end, runs_ended=1)


def test_a_run_that_recovers_ends_once() -> None:
    failed, completed = run_row(status=Status.FAILED), run_row(status=Status.COMPLETED)
    assert usage.shifts(failed, completed, ONE, "a") == []


def test_a_cell_adds_what_was_spent() -> None:
    rows = [run_row(usage=Usage(input_tokens=n)) for n in (1, 4, 4)]
    cell = usage.fold(None, KEY, None, rows[0], ONE)
    cell = usage.fold(cell, KEY, rows[0], rows[1], ONE)
    cell = usage.fold(cell, KEY, rows[1], rows[2], ONE)
    assert cell == UsageRow(*KEY, 3, 1, 0, Usage(input_tokens=4))
    assert cell.usage.output_tokens is None


MODELS, WHO = ("m", "n", None, None), ("a", "b", "default")
tellings = st.lists(
    st.tuples(
        st.sampled_from([E.STEP, E.STEP, E.TOOL_CALL, E.MODEL_CALL, E.RUN_PAUSED, E.RUN_RESUMED, E.RUN_COMPLETED]),
        st.sampled_from(WHO),
        st.sampled_from(MODELS),
        st.booleans(),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=14,
)
"""Kind, agent, the model that is named, whether tokens are told, the hour: of each event of a run."""


def played(told: list[Any]) -> tuple[list[tuple[RunRow | None, RunRow, Event, str]], dict[Any, UsageRow]]:
    """Each step of a run, and the cells that come of them."""
    row, steps, cells = run_row(last_seq=0), [], dict[Any, UsageRow]()
    for seq, (kind, agent, model, has_report, hour) in enumerate(told, start=1):
        report = UsageReport(Usage(input_tokens=1), "delta") if has_report else None
        facts = facts_of(model=model, report=report) if model or report else Facts()
        at = START_MS + hour * usage.HOUR_MS
        one = event(seq, seq, type=kind, facts=facts, recorded_at=at, late=row.is_terminal())
        before, row = None if seq == 1 else row, run_fold.fold(row, one, agent)
        key = usage.key_of(row, one, agent)
        cells[key] = usage.fold(cells.get(key), key, before, row, one)
        for shift in usage.shifts(before, row, one, agent):
            cells[shift[0]] = usage.shifted(cells.get(shift[0]), shift)
        for correction in corrections(before, row, one, agent):
            cells[correction.key] = usage.corrected(cells.get(correction.key), correction)
        steps.append((before, row, one, agent))
    return steps, cells


def first_after(steps: list[Any], at: int, agent: str) -> str:
    """The model that an agent names first, or what stood for it, from one of the events on."""
    names = {agent, "default", "unknown"}
    return next((one.effects.model for _, _, one, who in steps[at:] if who in names and one.effects.model), "")


@given(tellings)
def test_events_starts_and_ends_stand_under_models_whenever_those_are_named(told: list[Any]) -> None:
    """Held against what can be said of the whole story: a run under its first model; an event under the model that it
    names, else its agent's, or the first that this will name if it spent nothing."""
    steps, cells = played(told)
    run_model = next((one.effects.model for *_, one, _ in steps if one.effects.model), "")
    expected: dict[Any, list[int]] = {}

    def count(row: RunRow, one: Event, agent: str, model: str, which: int) -> None:
        key = (row.org, usage.hour_of(one), agent, model, row.status.value)
        expected.setdefault(key, [0, 0, 0])[which] += 1

    for at, (before, row, one, agent) in enumerate(steps):
        model = one.effects.model
        if model is None and run_fold.has_named_model(row.shares, row.dormant, agent):
            model = row.model_of(agent) or ""
        elif model is None:
            model = "" if one.effects.report is not None else first_after(steps, at, agent)
        count(row, one, agent, model, 0)
        if before is None:
            last = steps[-1][1]
            count(row, one, str(last.agent) if last.was_agent == agent else agent, run_model, 1)
        if row.is_terminal() and (before is None or not before.is_terminal()):
            count(row, one, agent, run_model, 2)
    counted = {key: [cell.events, cell.runs_started, cell.runs_ended] for key, cell in cells.items()}
    assert {key: counts for key, counts in counted.items() if any(counts)} == expected
    assert all(min(counts) >= 0 for counts in counted.values())


@given(tellings)
def test_the_sums_by_hour_agent_and_status_do_not_depend_on_models(told: list[Any]) -> None:
    """Whatever moves for a model, moves between models alone; and tokens do not move."""
    with_models, without = played(told)[1], played([(kind, agent, None, *more) for kind, agent, _, *more in told])[1]

    def sums(cells: dict[Any, UsageRow]) -> dict[Any, list[int]]:
        found: dict[Any, list[int]] = {}
        for cell in cells.values():
            counts = (cell.events, cell.runs_started, cell.runs_ended, cell.usage.input_tokens or 0)
            place = found.setdefault((cell.hour, cell.agent, cell.status), [0, 0, 0, 0])
            place[:] = [known + more for known, more in zip(place, counts, strict=True)]
        return found

    assert sums(with_models) == sums(without)
    assert all(cell.runs_ended <= 1 and cell.runs_started <= 1 for cell in with_models.values())


def test_cells_that_a_run_without_a_model_has_past_a_bound_keep_their_events() -> None:
    hours = MAX_UNPLACED + 3
    told = [(E.STEP, "a", None, False, hour) for hour in range(hours)] + [(E.MODEL_CALL, "a", "m", False, hours)]
    steps, cells = played(told)
    by_model = {model: sum(cell.events for cell in cells.values() if cell.model == model) for model in ("", "m")}
    assert by_model == {"": 3, "m": MAX_UNPLACED + 1}
    assert steps[-1][1].unplaced == ()
    assert sum(cell.runs_started for cell in cells.values() if cell.model == "m") == 1
