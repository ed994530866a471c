"""The fold of a checkpoint: the newest revision, or a human's decision about it."""

from __future__ import annotations

import msgspec

from tests.support.factories import event, run_row
from tests.support.fakes import START_MS
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.projections import checkpoints

RUN = run_row(thread_id="t")


def saved(position: int, facts: CheckpointFacts) -> Event:
    """A checkpoint event."""
    return event(position, position, type=EventType.CHECKPOINT, facts=Facts(effects=Effects(checkpoint=facts)))


def fold(row: CheckpointRow | None, position: int, facts: CheckpointFacts) -> CheckpointRow | None:
    """The row after it."""
    return checkpoints.fold(row, saved(position, facts), RUN, "a")


STATE = CheckpointFacts(2, "waiting_for_approval", "ab", 3, has_meta=False, digest="digest")


def test_a_checkpoint_is_what_its_event_says() -> None:
    assert fold(None, 4, STATE) == CheckpointRow(
        org=1,
        run=RUN.run,
        agent="a",
        step_index=2,
        thread_id="t",
        status="waiting_for_approval",
        seq=4,
        position=4,
        node="ab",
        length=3,
        has_meta=False,
        digest="digest",
        created_at=START_MS + 4,
        updated_at=START_MS + 4,
    )


def test_another_body_is_a_revision() -> None:
    first = fold(None, 4, STATE)
    second = fold(first, 9, msgspec.structs.replace(STATE, node="cd", status="completed"))
    assert second is not None
    assert (second.revision, second.seq, second.node, second.status) == (2, 9, "cd", "completed")
    assert (second.created_at, second.updated_at) == (START_MS + 4, START_MS + 9)


def test_a_decision_changes_the_status_alone() -> None:
    first = fold(None, 4, STATE)
    decided = fold(first, 9, CheckpointFacts(2, "approved", decision=True))
    assert first is not None
    assert decided == msgspec.structs.replace(
        first, status="approved", updated_at=START_MS + 9, decided_at=START_MS + 9, decision="approved"
    )
    assert decided.seq == 4, "the figures are still those of the checkpoint's own event"


def test_a_decision_about_nothing_is_nothing() -> None:
    assert fold(None, 9, CheckpointFacts(2, "approved", decision=True)) is None


def test_an_initial_one_gives_way_and_is_no_revision() -> None:
    initial = CheckpointFacts(0, "running", initial=True)
    first = fold(None, 1, initial)
    assert first is not None
    assert first.initial
    second = fold(first, 5, msgspec.structs.replace(STATE, step_index=0))
    assert second is not None
    assert (second.initial, second.revision, second.created_at) == (False, 1, START_MS + 1)
    assert fold(second, 7, initial) is second, "it never overwrites what an agent wrote"


def test_other_events_leave_it_alone() -> None:
    first = fold(None, 4, STATE)
    assert checkpoints.fold(first, event(5, 5), RUN, "a") is first
    assert checkpoints.fold(None, event(5, 5), RUN, "a") is None
