"""One `Changes` is one transaction; figures add up without inventing any; rows move only as far as they must."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec
import pytest

from tests.store.plans import plans_of
from tests.support.factories import event, identity, run_changes, run_row
from towerlog.engine.audit.outside import key_created, key_revoked
from towerlog.model.agent import AgentRow
from towerlog.model.audit import SERVER
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import Counters
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import NO_USAGE, Usage, UsageRow
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.sqlite import events, queue, reads
from towerlog.store.sqlite import write as writes
from towerlog.store.sqlite.people import organisations
from towerlog.store.sqlite.upkeep import verification
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, Quarantined, RunChange, StoredReply

ROW = run_row(thread_id="t")


def everything(org: int = 1) -> Changes:
    """Something for every table."""
    changes = run_changes(ROW, [event(1, 1), event(2, 2)])
    changes.threads = {(org, "t"): ThreadRow(org, "t", 1)}
    changes.agents = {7: AgentRow(7, org, "id", "a", 1)}
    changes.usage = {(org, 1, "a", "m", "r"): UsageRow(org, 1, "a", "m", "r", 1)}
    changes.checkpoints = {
        (ROW.run, "a", 0): CheckpointRow(org, ROW.run, "a", 0, "t", "r", 1, 1, "", 0, False, "", 1, 1)
    }
    changes.lanes = {ROW.run: Lane(ROW.run, org, QueueState.QUEUED, "a", 1)}
    changes.messages = [Message(org, b"m", b"{}")]
    changes.nodes = [HistoryNode(org, b"n", b"", b"m", 1)]
    changes.metas = [MetaList(org, b"l", b"", b"[]")]
    changes.quarantined = [Quarantined(org, ROW.run, 1, "w", 1, "step", None, b"{}")]
    changes.replies = [StoredReply(org, "r", b"d", 200, b"{}", 1)]
    changes.keys = [msgspec.structs.replace(identity(9)[2], org=org)]
    changes.counters = {org: Counters(2, 1, 1)}
    return changes


def whole(db: apsw.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    names = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {name: list(db.execute(f"SELECT * FROM {name}")) for name in names}


TABLES = ["event", "run", "thread", "agent", "usage", "checkpoint", "lane", "quarantine", "message", "node"]
TABLES += ["meta_list", "reply", "api_key", "org"]


def test_a_unit_writes_to_every_table(db: apsw.Connection, org: int) -> None:
    before = whole(db)
    write_changes(db, everything())
    after = whole(db)
    assert sorted(name for name in after if after[name] != before[name]) == sorted(TABLES)
    assert not db.in_transaction


@pytest.mark.parametrize("table", TABLES)
def test_a_statement_that_fails_rolls_everything_back(db: apsw.Connection, org: int, table: str) -> None:
    act = "UPDATE" if table == "org" else "INSERT"
    db.execute(f"CREATE TRIGGER planted BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, 'planted'); END")
    before = whole(db)
    with pytest.raises(apsw.ConstraintError, match="planted"):
        write_changes(db, everything())
    assert not db.in_transaction
    assert whole(db) == before
    db.execute("DROP TRIGGER planted")
    write_changes(db, everything())
    assert whole(db) != before


def test_what_python_refuses_rolls_back_as_well(db: apsw.Connection, org: int) -> None:
    before = whole(db)
    broken = everything()
    broken.replies = [StoredReply(1, "r", b"d", 200, b"{}", object())]  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write_changes(db, broken)
    assert not db.in_transaction
    assert whole(db) == before


def test_the_quarantine_of_a_run_is_looked_through_once_for_each_of_its_keys(db: apsw.Connection, org: int) -> None:
    asked: list[str] = []
    sent = [
        Quarantined(org, run, 1, key, 1, "step", None, b"%d" % number, key_id=key)
        for number in range(50)
        for run in (ROW.run, ROW.run + 1)
        for key in ("a", "b")
    ]
    db.exec_trace = lambda _cursor, sql, _values: asked.append(sql) is None
    write_changes(db, Changes(quarantined=sent))
    db.exec_trace = None
    assert sum(sql.startswith("SELECT") for sql in asked) == 4
    numbers = [row[0] for row in db.execute("SELECT number FROM quarantine WHERE run = ? ORDER BY number", (ROW.run,))]
    assert numbers == list(range(1, 101))


def test_a_second_event_at_the_same_place_is_refused(db: apsw.Connection, org: int) -> None:
    write_changes(db, everything())
    before = whole(db)
    for twin in (event(2, 9), event(9, 2)):
        with pytest.raises(apsw.ConstraintError):
            write_changes(db, Changes(events=[twin]))
    assert whole(db) == before


FIGURES = [
    (NO_USAGE, NO_USAGE, NO_USAGE),
    (Usage(input_tokens=1), NO_USAGE, Usage(input_tokens=1)),
    (NO_USAGE, Usage(input_tokens=1), Usage(input_tokens=1)),
    (Usage(input_tokens=0), NO_USAGE, Usage(input_tokens=0)),
    (Usage(input_tokens=1), Usage(input_tokens=2), Usage(input_tokens=3)),
    (Usage(cost_nanos=5), Usage(cost_nanos=-2), Usage(cost_nanos=3)),
    (Usage(input_tokens=1), Usage(output_tokens=2), Usage(input_tokens=1, output_tokens=2)),
    (Usage(*range(7)), Usage(*range(7)), Usage(*range(0, 14, 2))),
]


@pytest.mark.parametrize(("first", "second", "total"), FIGURES, ids=range(len(FIGURES)))
def test_usage_is_added_and_unknown_stays_unknown(
    db: apsw.Connection, org: int, first: Usage, second: Usage, total: Usage
) -> None:
    key = (1, 5, "a", "m", "running")
    for number, usage in enumerate((first, second), 1):
        write_changes(db, Changes(usage={key: UsageRow(*key, number, number * 10, number * 100, usage)}))
    assert verification.all_rows(db, 1).usage == [UsageRow(*key, 3, 30, 300, total)]


@pytest.mark.parametrize("counts_first", [True, False], ids=["first", "last"])
def test_a_cell_that_only_counts_events_leaves_every_figure_as_it_is(
    db: apsw.Connection, org: int, counts_first: bool
) -> None:
    key = (1, 5, "a", "m", "running")
    figures, counts = UsageRow(*key, 2, 3, 4, Usage(*range(1, 8))), UsageRow(*key, 5, 0, 0)
    for cell in (counts, figures) if counts_first else (figures, counts):
        write_changes(db, Changes(usage={key: cell}))
    assert verification.all_rows(db, 1).usage == [UsageRow(*key, 7, 3, 4, Usage(*range(1, 8)))]
    write_changes(db, Changes(usage={key: UsageRow(*key, 1, 0, 1)}))
    write_changes(db, Changes(usage={key: UsageRow(*key, 1, 1, 0)}))
    assert verification.all_rows(db, 1).usage == [UsageRow(*key, 9, 4, 5, Usage(*range(1, 8)))]


def test_bodies_packed_in_one_transaction_are_read_back_each_by_itself(db: apsw.Connection, org: int) -> None:
    bodies = [b'{"n":"' + b"%d" % n * 3000 + b'"}' for n in range(5)]
    told = [msgspec.structs.replace(event(n + 1, n + 1), data=body) for n, body in enumerate(bodies)]
    write_changes(db, run_changes(ROW, told))
    assert [one.data for one in events.events(db, org, ROW.run, 0, 10)] == bodies
    assert all(db.execute("SELECT flags & 4 AND length(data) < 100 FROM event ORDER BY key").get)


def asked(db: apsw.Connection, before: RunRow, after: RunRow) -> list[str]:
    """The beginnings of the statements that a change of a run takes."""
    changes = Changes(runs={after.run: RunChange(before, after)})
    return [sql[:19] for sql in plans_of(db, lambda: write_changes(db, changes)) if sql.startswith("UPDATE run")]


MOVES: dict[str, Any] = {
    "foreign_id": "f",
    "agent": "a",
    "status": Status.FAILED,
    "model": "m",
    "persona_id": "p",
    "parent_key": "run:x",
    "cancel_requested_at": 5,
}


@pytest.mark.parametrize("field", MOVES)
def test_a_run_that_something_looks_up_is_moved(db: apsw.Connection, org: int, field: str) -> None:
    write_changes(db, everything())
    after = msgspec.structs.replace(ROW, last_seq=3, **{field: MOVES[field]})
    assert asked(db, ROW, after) == ["UPDATE run SET fore"]
    assert reads.run(db, org, ROW.run_id) == after
    assert db.execute(f"SELECT {field} FROM run").get == MOVES[field]


def test_a_run_that_only_went_on_is_touched_and_no_index_with_it(db: apsw.Connection, org: int) -> None:
    write_changes(db, everything())
    after = msgspec.structs.replace(ROW, last_seq=3, phase="reading", attempt=2)
    assert asked(db, ROW, after) == ["UPDATE run SET doc "]
    assert reads.run(db, org, ROW.run_id) == after


def test_content_that_is_there_is_kept(db: apsw.Connection, org: int) -> None:
    write_changes(db, everything())
    before = whole(db)
    again = Changes(messages=[Message(1, b"m", b"other")], nodes=[HistoryNode(1, b"n", b"x", b"y", 1)])
    again.metas = [MetaList(1, b"l", b"x", b"[1]")]
    write_changes(db, again)
    assert whole(db) == before


def test_rows_that_are_there_keep_what_they_were_made_with(db: apsw.Connection, org: int) -> None:
    write_changes(db, everything())
    later = Changes(threads={(1, "t"): ThreadRow(1, "t", 99, title="new")})
    later.agents = {7: AgentRow(7, 1, "stolen", "b", 99)}
    write_changes(db, later)
    assert list(db.execute("SELECT thread_id, created_at FROM thread")) == [("t", 1)]
    assert list(db.execute("SELECT agent_id, name FROM agent")) == [("id", "a")]


def test_a_rebuild_drops_the_projections_of_one_organisation_and_nothing_else(
    db: apsw.Connection, org: int, other: int
) -> None:
    write_changes(db, everything())
    theirs = run_row(1, org=other)
    write_changes(db, Changes(runs={theirs.run: RunChange(None, theirs)}))
    before = whole(db)
    write_changes(db, Changes(replaces=org))
    after = whole(db)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"run", "thread", "agent", "usage", "checkpoint"}
    assert [row[1] for row in after["run"]] == [other]


def test_a_renewed_lane_has_its_new_deadline_and_doc_and_its_old_place(db: apsw.Connection, org: int) -> None:
    held = Lane(1, org, QueueState.HELD, "a", 1, worker_id="w", queue_position=3, lease_ms=500, expires_at=10)
    write_changes(db, Changes(lanes={1: held}))
    renewed = msgspec.structs.replace(held, expires_at=900, reported=True)
    write_changes(db, Changes(lanes={1: renewed}, renewed={1}))
    assert queue.lane(db, org, 1) == renewed
    assert list(db.execute("SELECT state, queue_position, queued_at, expires_at FROM lane")) == [("held", 3, 1, 900)]


def test_every_running_lease_gets_a_whole_new_length(db: apsw.Connection, org: int) -> None:
    held = Lane(1, 1, QueueState.HELD, "a", 1, worker_id="w", lease_ms=500, expires_at=10)
    queued = Lane(2, 1, QueueState.QUEUED, "a", 1)
    write_changes(db, Changes(lanes={1: held, 2: queued}))
    writes.refresh_leases(db, 1000)
    assert queue.lane(db, 1, 1) == msgspec.structs.replace(held, expires_at=1500)
    assert db.execute("SELECT expires_at FROM lane WHERE run = 1").get == 1500
    assert queue.lane(db, 1, 2) == queued


def test_an_organisation_is_made_whole_or_not_at_all(db: apsw.Connection, org: int) -> None:
    before = whole(db)
    new, user, key, told = identity(2, name="theirs")
    taken = msgspec.structs.replace(key, digest=identity(1)[2].digest)
    with pytest.raises(apsw.ConstraintError):
        organisations.write_org(db, new, user, taken, told)
    assert whole(db) == before


def test_a_key_is_changed_by_its_own_organisation_alone(db: apsw.Connection, org: int, other: int) -> None:
    mine = msgspec.structs.replace(identity(1)[2], org=org)
    revoked = msgspec.structs.replace(mine, revoked_at=5)
    organisations.write_key(db, revoked, key_revoked(SERVER, mine, revoked))
    assert [key.revoked_at for key in reads.keys(db, org, 10, None)] == [5]
    before, taken = whole(db), msgspec.structs.replace(mine, org=other, key_id="new")
    with pytest.raises(apsw.ConstraintError):
        organisations.write_key(db, taken, key_created(SERVER, taken))
    assert whole(db) == before, "the same text again would take the other's key away"


def test_replies_are_forgotten_by_age(db: apsw.Connection, org: int) -> None:
    kept = [StoredReply(1, str(age), b"d", 200, b"{}", age) for age in (1, 2, 3)]
    write_changes(db, Changes(replies=kept))
    assert writes.drop_old_replies(db, 3, 1) == 1, "a piece at a time"
    assert writes.drop_old_replies(db, 2, 10) == 0
    assert [row[0] for row in db.execute("SELECT name FROM reply ORDER BY name")] == ["2", "3"]
