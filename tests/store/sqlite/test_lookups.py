"""What a unit asks before it plans is asked at each request: it goes by an index, and finds what is meant."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from tests.support.factories import event, run_changes, run_row, traced
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import RunByForeignId, RunById
from towerlog.model.principal import Counters
from towerlog.model.run import Status
from towerlog.model.thread import ThreadRow
from towerlog.store.sqlite import descent, lookups, queue
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, RunChange

ROW = run_row(foreign_id="s:one", thread_id="t", trace_id="x")
Question = Callable[[apsw.Connection], object]

BY_INDEX: dict[str, tuple[Question, str]] = {
    "counters": (lambda db: lookups.counters(db, 1), "org USING INTEGER PRIMARY KEY"),
    "run-by-id": (lambda db: lookups.runs_by_ref(db, [(1, RunById("x"))]), "run_by_id (org=? AND run_id=?)"),
    "run-by-foreign-id": (
        lambda db: lookups.runs_by_ref(db, [(1, RunByForeignId("s:x", "t"))]),
        "run_by_foreign_id (org=? AND foreign_id=?)",
    ),
    "run-by-trace": (lambda db: lookups.runs_by_ref(db, [(1, traced("x", "t"))]), "run_by_trace (org=? AND trace_id"),
    "descendants": (lambda db: descent.run_descendants(db, 1, ROW, 10), "run_by_parent (org=? AND parent_key=?)"),
    "threads": (lambda db: lookups.threads(db, [(1, "t")]), "PRIMARY KEY (org=? AND thread_id=?)"),
    "agents": (lambda db: lookups.agents_by_name(db, [(1, "a")]), "agent_by_name (org=? AND name=?)"),
    "events": (lambda db: lookups.events_by_id(db, [(1, "e")]), "event_by_id (run=? AND event_id=?)"),
    "responses": (
        lambda db: lookups.response_by_id(db, 1, "response:a"),
        "event_by_response (event_id=? AND rowid>? AND rowid<?)",
    ),
    "checkpoint": (lambda db: lookups.checkpoint(db, 1, "a", 1), "(run=? AND agent=? AND step_index=?)"),
    "checkpoints-of-trace": (lambda db: lookups.checkpoints_waiting(db, 1, "x", 1), "run_by_trace (org=?"),
    "nodes": (lambda db: lookups.last_node(db, 1, [b"k"]), "COVERING INDEX node_by_key (org=? AND key=?)"),
    "length": (lambda db: lookups.chain_length(db, 1, b"k"), "node_by_key (org=? AND key=?)"),
    "metas": (lambda db: lookups.last_metas(db, 1, [b"k"]), "COVERING INDEX meta_list_by_key (org=? AND key=?)"),
    "lanes": (lambda db: queue.lanes_of_runs(db, [1, 2]), "lane USING INTEGER PRIMARY KEY (rowid=?)"),
    "expired": (lambda db: queue.lanes_expired(db, 5, 3), "lane_held (expires_at<?)"),
    "cancelling": (
        lambda db: lookups.runs_cancelling(db, (5, 0), 3),
        "run_cancelling (cancel_requested_at>?)",
    ),
    "unheard": (lambda db: lookups.runs_silent(db, False, 9, (5, 0), 3), "run_seen (quiet=? AND"),
    "reply": (lambda db: lookups.reply(db, 1, "r"), "(org=? AND name=?)"),
    "key": (lambda db: lookups.key(db, 1, "k"), "PRIMARY KEY (org=? AND key_id=?)"),
}


@pytest.fixture
def some(db: apsw.Connection, org: int) -> apsw.Connection:
    """A run in its thread."""
    thread = ThreadRow(1, "t", 1, newest_run=ROW.run, open_runs=(ROW.run,))
    write_changes(db, run_changes(ROW, [event(1, 1, event_id="e")], threads={(1, "t"): thread}))
    return db


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_look_up_goes_by_an_index(some: apsw.Connection, name: str) -> None:
    question, words = BY_INDEX[name]
    steps = [step for found in plans_of(some, lambda: question(some)).values() for step in found]
    assert any(words in step for step in steps), steps
    given = ("SCAN json_each ", "SCAN wanted VIRTUAL TABLE")
    assert not [step for step in steps if step.startswith("SCAN") and not step.startswith(given)], steps


@pytest.mark.parametrize("ref", [RunById(ROW.run_id), RunByForeignId("s:one", "t"), traced("x", "t")], ids=repr)
def test_a_run_is_found_by_each_of_its_names_in_its_own_organisation(some: apsw.Connection, ref: object) -> None:
    assert lookups.runs_by_ref(some, [(1, ref), (2, ref)]) == [ROW, None]  # type: ignore[list-item]


def test_an_agent_that_was_started_for_a_run_may_name_it_by_our_own_id(some: apsw.Connection) -> None:
    refs = [RunByForeignId(f"s:{name}", "t") for name in (ROW.run_id, ROW.run_id.upper(), "nobody")]
    assert lookups.runs_by_ref(some, [(1, ref) for ref in refs]) == [ROW, ROW, None]


def test_a_name_that_was_given_twice_means_the_newest(some: apsw.Connection) -> None:
    again = run_row(2, foreign_id="s:one", thread_id="t", trace_id="x")
    elsewhere = run_row(3, thread_id="u", trace_id="x")
    write_changes(some, Changes(runs={row.run: RunChange(None, row) for row in (again, elsewhere)}))
    refs = [RunByForeignId("s:one", "t"), traced("x", "t"), traced("x", "u")]
    assert lookups.runs_by_ref(some, [(1, ref) for ref in refs]) == [again, again, elsewhere]


def test_descendants_come_level_by_level(db: apsw.Connection, org: int) -> None:
    top, other = run_row(1), run_row(9)
    child = run_row(2, parent_key=f"run:{top.run_id}")
    ended = run_row(3, parent_key=f"run:{top.run_id}", status=Status.FAILED)
    below = run_row(4, parent_key=f"trace:{child.trace_id}")
    below_ended = run_row(5, parent_key=f"run:{ended.run_id}")
    rows = (top, other, child, ended, below, below_ended)
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in rows}))
    assert descent.run_descendants(db, 1, top, 10) == [child, ended, below, below_ended]
    assert descent.run_descendants(db, 1, below, 10) == []


def test_runs_that_are_each_others_parents_are_each_found_once(db: apsw.Connection, org: int) -> None:
    one, two = run_row(1, parent_key="trace:trace-2"), run_row(2, parent_key="trace:trace-1")
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in (one, two)}))
    assert descent.run_descendants(db, 1, one, 10) == [two]


def test_the_checkpoints_of_a_trace_come_newest_first(db: apsw.Connection, org: int) -> None:
    rows = [run_row(n, trace_id="x") for n in (1, 2)] + [run_row(3, trace_id="y")]
    states = [
        CheckpointRow(1, row.run, agent, step, "t", "d", 1, position, "", 0, False, "", 1, 1)
        for row in rows
        for position, (agent, step) in enumerate([("a", 1), ("b", 1), ("a", 2)], row.run * 10)
    ]
    changes = Changes(runs={row.run: RunChange(None, row) for row in rows})
    changes.checkpoints = {(s.run, s.agent, s.step_index): s for s in states}
    write_changes(db, changes)
    found = lookups.checkpoints_waiting(db, org, "x", 1)
    assert [(row.run, row.agent) for row in found] == [(r.run, a) for r in rows[1::-1] for a in "ba"]


def test_the_numbers_of_nobody_are_nought(db: apsw.Connection, org: int) -> None:
    assert lookups.counters(db, org + 5) == Counters()
