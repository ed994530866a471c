"""Reading by index: no page of anything walks through the log or through all runs, however many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from tests.support.factories import event, run_changes, run_row
from towerlog.errors import Damaged
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.names import message_name, prefix_names
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.store.content import HistoryNode, Message
from towerlog.store.sqlite import content, descent, events, queue, reads
from towerlog.store.sqlite.upkeep import verification
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, RunChange, UsageSpan

ROW = run_row()
BOTH = (Status.FAILED, Status.LOST)
Question = Callable[[apsw.Connection], object]


def asked(question: Callable[..., object], *values: object) -> None:
    """Asks for what is not there: how it is looked for is what matters."""
    with contextlib.suppress(Damaged):
        question(*values)


def runs(before: int | None = None, **wanted: object) -> Question:
    """A page of runs."""
    return lambda db: reads.runs(db, 1, RunFilter(**wanted), 10, before)  # type: ignore[arg-type]


# What is asked, and the words that its plan must have: in the order that is wanted, without sorting whole rows.
IN_ORDER: dict[str, tuple[Question, str]] = {
    "lanes": (lambda db: queue.lanes(db, 1, 10, None), "lane_open (org=?)"),
    "lanes-held": (lambda db: queue.lanes_held(db, 1, 10), "lane_held_by_org (org=?)"),
    "runs": (runs(), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "runs-next-page": (runs(before=ROW.run), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "runs-by-agent": (runs(agent="a"), "run_by_agent (org=? AND agent=?"),
    "runs-by-thread": (runs(thread_id="t"), "run_by_thread (org=? AND thread_id=?"),
    "runs-by-status": (runs(statuses=(Status.FAILED,)), "run_by_status (org=? AND status=?"),
    "runs-by-agent-and-status": (runs(agent="a", statuses=BOTH), "run_by_agent (org=? AND agent=?"),
    "runs-by-model": (runs(model="m"), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "runs-by-persona": (runs(persona_id="p"), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "runs-by-words": (runs(q="x"), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "threads": (lambda db: reads.threads(db, 1, 10, None), "thread_by_number (org=?)"),
    "threads-next-page": (lambda db: reads.threads(db, 1, 10, "t"), "thread_by_number (org=? AND number<?)"),
    "events": (lambda db: events.events(db, 1, 1, 0, 10, None), "event_by_seq (run=? AND seq>?)"),
    "events-of-types": (lambda db: events.events(db, 1, 1, 0, 10, ["step"]), "event_by_seq (run=? AND seq>?)"),
    "events-at": (lambda db: events.events_at(db, 1, 1, [1, 2]), "event_by_seq (run=? AND seq=?)"),
    "feed": (lambda db: events.feed(db, 1, 5, 10, 3), "event_by_feed (feed=? AND rowid>?)"),
    "feed-newest": (lambda db: events.feed(db, 1, 5, 10, None), "event_by_feed (feed=?)"),
    "log": (lambda db: events.log(db, 1, 0, 10), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "quarantined": (lambda db: queue.quarantined(db, 1, 1, 10, 0), "quarantine_by_run (run=? AND number>?)"),
    "agents": (lambda db: reads.agents(db, 1, 10, None, None), "agent_by_name (org=? AND name>?)"),
    "agents-by-name": (lambda db: reads.agents(db, 1, 10, None, "a"), "agent_by_name (org=? AND name=?)"),
    "usage": (
        lambda db: reads.usage_by(db, 1, "hour", UsageSpan(0, 5), 10),
        "PRIMARY KEY (org=? AND hour>? AND hour<?)",
    ),
    "messages": (lambda db: verification.content_page(db, 1, "messages", 0, 10), "INTEGER PRIMARY KEY (rowid>?)"),
    "nodes": (lambda db: verification.content_page(db, 1, "nodes", 0, 10), "INTEGER PRIMARY KEY (rowid>?)"),
    "metas": (lambda db: verification.content_page(db, 1, "metas", 0, 10), "INTEGER PRIMARY KEY (rowid>?)"),
}
# The same, where what is found is few or small and may be sorted.
SORTED: dict[str, tuple[Question, str]] = {
    "runs-by-statuses": (runs(statuses=BOTH), "COVERING INDEX run_by_status (org=? AND status=?"),
    "runs-since": (runs(since=1), "COVERING INDEX run_by_began_at (org=? AND began_at>?)"),
    "runs-until": (runs(until=1), "COVERING INDEX run_by_began_at (org=? AND began_at<?)"),
    "runs-by-parent": (runs(parent_run_id=ROW.run_id), "run_by_parent (org=? AND parent_key=?"),
    "children": (lambda db: descent.run_children(db, 1, ROW, 10), "run_by_parent (org=? AND parent_key=?)"),
    "parents-by-trace": (lambda db: descent.run_ids_of_parents(db, 1, [child_of("trace:x")]), "run_by_trace (org=?"),
    "parents-by-id": (
        lambda db: descent.run_ids_of_parents(db, 1, [child_of("run:x")]),
        "run_by_id (org=? AND run_id=?)",
    ),
    "parents-by-name": (
        lambda db: descent.run_ids_of_parents(db, 1, [child_of("foreign:x")]),
        "run_by_foreign_id (org=?",
    ),
    "latest": (lambda db: reads.thread_states(db, 1, "t", False), "(org=? AND thread_id=? AND initial=? AND run<?)"),
    "latest-of-run": (lambda db: reads.checkpoint_latest_of_run(db, 1, 1), "PRIMARY KEY (run=?)"),
    "checkpoints": (lambda db: reads.checkpoints(db, 1, 1, 10, None), "PRIMARY KEY (run=?)"),
    "history": (lambda db: asked(content.history, db, 1, b"n", 3), "message_by_key (org=? AND key=?)"),
    "metas-of-a-list": (lambda db: asked(content.metas, db, 1, b"n"), "meta_list_by_key (org=? AND key=?)"),
    "lanes-by-status": (lambda db: queue.lanes(db, 1, 10, BOTH), "run_by_status (org=? AND status=?)"),
    "lane-counts": (lambda db: queue.lane_counts(db, 1), "COVERING INDEX lane_queued_in_order (org=?)"),
    "keys": (lambda db: reads.keys(db, 1, 10, None), "(org=?)"),
    "key-by-digest": (lambda db: reads.key_by_digest(db, b"d"), "(digest=?)"),
}


def all_steps(db: apsw.Connection, question: Question) -> list[str]:
    """The steps of every plan that the question needs."""
    return [step for steps in plans_of(db, lambda: question(db)).values() for step in steps]


@pytest.fixture
def some(db: apsw.Connection, org: int) -> apsw.Connection:
    """A run and a thread, so that questions which ask twice get to their second one."""
    write_changes(db, run_changes(ROW, [event(1, 1)], threads={(1, "t"): ThreadRow(1, "t", 1)}))
    return db


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_page_comes_in_order_from_its_index(some: apsw.Connection, name: str) -> None:
    question, words = IN_ORDER[name]
    steps = all_steps(some, question)
    assert any(words in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step], steps


@pytest.mark.parametrize("name", SORTED)
def test_a_question_is_answered_by_index(some: apsw.Connection, name: str) -> None:
    question, words = SORTED[name]
    steps = all_steps(some, question)
    assert any(words in step for step in steps), steps
    walks = [step for step in steps if step.startswith("SCAN") and step not in MAY_SCAN]
    assert not walks, steps
    assert not [step for step in steps if "AUTOMATIC" in step], "an index is made and thrown away at each question"


MAY_SCAN = ("SCAN walk", "SCAN lane USING INDEX lane_held")
"""The history that is being walked, and the leases that are running: neither grows with the store."""


def test_a_plan_that_walks_is_seen(some: apsw.Connection) -> None:
    assert all_steps(some, lambda db: db.execute("SELECT doc FROM run WHERE model = 'm'").get) == ["SCAN run"]


def test_newest_first_below_a_number_with_every_filter(db: apsw.Connection, org: int, other: int) -> None:
    rows = [run_row(n, agent="ab"[n % 2], status=BOTH[n % 2], model="m" if n > 3 else None) for n in range(1, 9)]
    theirs = run_row(1, org=other, agent="a", status=Status.LOST, model="m")
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in (*rows, theirs)}))

    def found(before: int | None = None, **wanted: object) -> list[int]:
        page = reads.runs(db, org, RunFilter(**wanted), 3, before)  # type: ignore[arg-type]
        assert all(row in rows for row in page)
        return [rows.index(row) + 1 for row in page]

    assert found() == [8, 7, 6]
    assert found(before=rows[5].run) == [5, 4, 3]
    assert found(agent="b") == [7, 5, 3]
    assert found(statuses=BOTH) == [8, 7, 6]
    assert found(statuses=BOTH[:1], before=rows[5].run) == [4, 2]
    assert found(model="m", agent="a") == [8, 6, 4]
    assert found(since=rows[2].created_at, until=rows[4].created_at) == [4, 3]
    assert found(q="THREAD-3") == [3]
    assert found(agent="c") == []


def child_of(parent_key: str, thread_id: str = "t", number: int = 50) -> RunRow:
    """A run that names its parent."""
    return run_row(number, thread_id=thread_id, trace_id=f"own-{number}", parent_key=parent_key)


def test_a_parent_by_trace_is_looked_for_in_the_childs_thread_first(db: apsw.Connection, org: int, other: int) -> None:
    places = [(1, "t", "x"), (2, "t", "x"), (3, "u", "x"), (4, "t", "y")]
    rows = {n: run_row(n, thread_id=thread, trace_id=trace) for n, thread, trace in places}
    theirs = run_row(9, org=other, thread_id="t", trace_id="x")
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in (*rows.values(), theirs)}))
    named = {
        ("trace:x", "t"): rows[2].run_id,
        ("trace:x", "u"): rows[3].run_id,
        ("trace:x", "v"): rows[3].run_id,
        ("trace:y", "u"): rows[4].run_id,
        (f"run:{rows[1].run_id}", "v"): rows[1].run_id,
    }
    unknown = [("trace:z", "t"), ("run:z", "t"), (f"run:{theirs.run_id}", "t")]
    asked = [child_of(name, thread, n) for n, (name, thread) in enumerate([*named, *unknown], start=50)]
    expected = {child.run: run_id for child, run_id in zip(asked, named.values(), strict=False)}
    assert descent.run_ids_of_parents(db, org, asked) == expected


def test_the_states_of_a_thread_are_of_its_newest_runs_and_what_a_start_did_is_apart(
    db: apsw.Connection, org: int
) -> None:
    def state(number: int, step_index: int, *, initial: bool = False) -> CheckpointRow:
        position = number * 100 + step_index * 10
        return CheckpointRow(
            org, number, "a", step_index, "t", "running", 1, position, "", 0, False, "", 1, 1, initial=initial
        )

    runs = [run_row(n) for n in (1, 2, 3)]
    first = runs[0].run - 1
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in runs}))
    states = [state(first + 1, 1), state(first + 1, 2), state(first + 2, 0), state(first + 3, 0, initial=True)]
    write_changes(db, Changes(checkpoints={(s.run, s.agent, s.step_index): s for s in states}))

    def numbers(whose: int, *, initial: bool) -> list[int]:
        return [found.row.run - first for found in reads.thread_states(db, whose, "t", initial)]

    assert (numbers(org, initial=False), numbers(org, initial=True)) == ([2, 1], [3])
    assert numbers(org + 1, initial=False) == []


def test_a_history_is_read_from_its_first_message(db: apsw.Connection, org: int, other: int) -> None:
    bodies = [b'"%d"' % n + b" " * 600 * (n % 2) for n in range(6)]
    names = [message_name(body) for body in bodies]
    keys = prefix_names(names)
    for owner in (org, other):
        messages = [Message(owner, name, body) for name, body in zip(names, bodies, strict=True)]
        nodes = [HistoryNode(owner, keys[n], keys[n - 1] if n else b"", names[n], n + 1) for n in range(6)]
        write_changes(db, Changes(messages=messages, nodes=nodes))
    assert content.history(db, org, keys[5], 6) == bodies
    assert content.history(db, org, keys[3], 4) == bodies[:4]
    assert content.history(db, org, keys[5], 2) == bodies[4:], "no deeper than was asked"
