"""`verify` reads every row with a look at its own columns, names each kind of fault, and goes on past all of them."""

from __future__ import annotations

import apsw
import msgspec
import pytest

from tests.support.factories import event, run_changes, run_row
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import EventType
from towerlog.model.folds import FOLDS
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import Counters, shard_key
from towerlog.model.run import Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import Usage, UsageRow
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.sqlite.upkeep import verification
from towerlog.store.sqlite.upkeep.verification import all_rows, content_page
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, Rows

RUN = run_row(agent="a", thread_id="t", last_seq=3)
AGENT = AgentRow(shard_key(1, 1), 1, "00000000-0000-7000-b000-000000000001", "a", 5, event_count=3)
THREAD = ThreadRow(1, "t", 7, title="seven", run_count=1)
CELL = UsageRow(1, 10, "a", "m", "running", 3, usage=Usage(input_tokens=5))
CHECKPOINT = CheckpointRow(1, RUN.run, "a", 2, "t", "done", 3, 3, "", 0, False, "", 9, 9)


@pytest.fixture
def sound(db: apsw.Connection, org: int) -> apsw.Connection:
    """One row of each kind, and three events of which one stands in the agent's feed."""
    kinds = (EventType.STEP, EventType.TOOL_CALL, EventType.STEP)
    events = [event(n, n, agent=AGENT.agent, type=kind) for n, kind in enumerate(kinds, 1)]
    counted = {1: Counters(3, 9, 9)}
    fields = {"threads": {(1, "t"): THREAD}, "agents": {AGENT.agent: AGENT}, "usage": {(1, 10, "a", "m", "r"): CELL}}
    changes = run_changes(RUN, events, **fields, counters=counted, checkpoints={(RUN.run, "a", 2): CHECKPOINT})
    write_changes(db, changes)
    return db


def test_a_sound_store_is_read_whole(sound: apsw.Connection) -> None:
    read = all_rows(sound, 1)
    assert read == Rows(3, [RUN], [THREAD], [AGENT], [CELL], [CHECKPOINT], [], [], [], folds=FOLDS)


def test_another_organisation_has_nothing(sound: apsw.Connection, other: int) -> None:
    assert all_rows(sound, other) == Rows(0, [], [], [], [], [], [], [], [], folds=FOLDS)


COLUMNS = [
    *[("run", name) for name in ("run_id", "thread_id", "trace_id", "status", "foreign_id", "agent", "model")],
    *[("run", name) for name in ("persona_id", "parent_key", "began_at", "cancel_requested_at", "quiet", "seen_at")],
    ("thread", "thread_id"),
    ("thread", "created_at"),
    ("agent", "agent_id"),
    ("agent", "name"),
    *[("checkpoint", name) for name in ("agent", "step_index", "thread_id", "status", "initial", "position")],
]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(pair) for pair in COLUMNS])
def test_a_column_that_says_something_else_than_its_row_is_found(
    sound: apsw.Connection, table: str, column: str
) -> None:
    sound.execute(f"UPDATE {table} SET {column} = '77'")
    [fault] = all_rows(sound, 1).faults
    assert fault.startswith(f"{table} ")
    assert fault.endswith("its columns do not say what the row says")


def test_a_run_under_another_number_is_found(sound: apsw.Connection) -> None:
    sound.execute("UPDATE run SET run = run + 1")
    assert all_rows(sound, 1).faults == [f"run {RUN.run_id}: its columns do not say what the row says"]


NAMES = {
    "run": RUN.run_id,
    "thread": THREAD.thread_id,
    "agent": AGENT.name,
    "checkpoint": f"of run {RUN.run_id}, agent ",
}


@pytest.mark.parametrize("table", NAMES)
def test_what_is_wrong_is_named_as_people_look_it_up(sound: apsw.Connection, table: str) -> None:
    sound.execute(f"UPDATE {table} SET doc = x'7b'")
    assert all_rows(sound, 1).faults[0].startswith(f"{table} {NAMES[table]}")


@pytest.mark.parametrize("doc", [b"\x00rotten", b"{}", b'{"run":"no"}', b"\xff\xfe", b"", 5], ids=repr)
@pytest.mark.parametrize("table", ["run", "thread", "agent", "checkpoint"])
def test_a_row_that_cannot_be_read_is_found_and_the_others_are_read(
    sound: apsw.Connection, table: str, doc: object
) -> None:
    sound.execute(f"UPDATE {table} SET doc = ?", (doc,))
    second = run_row(2)
    fields = {"threads": {(1, "u"): ThreadRow(1, "u", 8)}, "counters": {1: Counters(4, 9, 9)}}
    write_changes(sound, run_changes(second, [event(4, 1, run=2)], **fields))
    read = all_rows(sound, 1)
    [fault] = read.faults
    assert fault.startswith(f"{table} ")
    assert "cannot be read" in fault
    assert read.runs[-1] == second
    assert read.threads[-1].thread_id == "u"
    assert not sound.in_transaction, "a reader that stays open keeps the WAL from starting anew"


def test_the_identity_of_an_agent_is_healed_from_its_columns(sound: apsw.Connection) -> None:
    wrong = msgspec.structs.replace(AGENT, agent=AGENT.agent + 5, agent_id="stolen", name="b")
    sound.execute("UPDATE agent SET doc = ?", (msgspec.json.encode(wrong),))
    read = all_rows(sound, 1)
    assert read.agents == [AGENT], "what was counted stays, who it is comes from the columns"
    assert len(read.faults) == 1


def test_the_identity_of_a_thread_is_healed_from_its_columns(sound: apsw.Connection) -> None:
    wrong = msgspec.structs.replace(THREAD, thread_id="other", created_at=1)
    sound.execute("UPDATE thread SET doc = ?", (msgspec.json.encode(wrong),))
    read = all_rows(sound, 1)
    assert read.threads == [THREAD]
    assert read.faults == ["thread t: its columns do not say what the row says"]


def test_who_cannot_be_read_is_still_somebody(sound: apsw.Connection) -> None:
    sound.execute("UPDATE agent SET doc = ''")
    sound.execute("UPDATE thread SET doc = ''")
    read = all_rows(sound, 1)
    assert read.agents == [AgentRow(AGENT.agent, 1, AGENT.agent_id, "a", created_at=0)]
    assert read.threads == [ThreadRow(1, "t", 7)]


@pytest.mark.parametrize(
    ("change", "position"),
    [
        ("feed = NULL WHERE type = 'tool.call'", 2),
        ("feed = feed + 1 WHERE type = 'tool.call'", 2),
        ("feed = agent WHERE key & 1099511627775 = 3", 3),
        ("agent = 0 WHERE type = 'tool.call'", 2),
    ],
    ids=["taken-out", "of-another", "put-in", "of-nobody"],
)
def test_a_wrong_place_in_a_feed_is_found(sound: apsw.Connection, change: str, position: int) -> None:
    sound.execute(f"UPDATE event SET {change}")
    assert all_rows(sound, 1).faults == [f"position {position}: its place in its agent's feed is wrong"]


def test_the_list_of_faults_in_feeds_is_bounded(sound: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_FAULTS", 2)
    sound.execute("UPDATE event SET feed = 1")
    assert len(all_rows(sound, 1).faults) == 2


def test_content_comes_in_pages_and_as_it_was_given(db: apsw.Connection, org: int, other: int) -> None:
    bodies = [b'"%d"' % n if n % 2 else b'"' + b"long " * 200 + b'"' for n in range(5)]
    messages = [Message(org, b"m%d" % n, body) for n, body in enumerate(bodies)]
    nodes = [HistoryNode(org, b"n%d" % n, b"", b"m%d" % n, 1) for n in range(5)]
    metas = [MetaList(org, b"l%d" % n, b"", body) for n, body in enumerate(bodies)]
    write_changes(db, Changes(messages=messages, nodes=nodes, metas=metas))
    packed = db.execute("SELECT count(*) FROM message WHERE packed AND length(body) < 500").get
    assert packed == 3, "the long ones are stored compressed"
    for kind, given in (("messages", messages), ("nodes", nodes), ("metas", metas)):
        found, after = [], 0
        while page := content_page(db, org, kind, after, 2):
            assert len(page) <= 2
            found += [item for _, item in page]
            after = page[-1][0]
        assert found == given
        assert content_page(db, other, kind, 0, 10) == []


@pytest.mark.parametrize(("counter", "taken"), [("position", 3), ("runs", 1), ("agents", 1)])
def test_a_counter_that_would_give_a_number_out_twice_is_found(
    sound: apsw.Connection, counter: str, taken: int
) -> None:
    sound.execute(f"UPDATE org SET {counter} = {taken}")
    assert all_rows(sound, 1).faults == []
    sound.execute(f"UPDATE org SET {counter} = {taken - 1}")
    assert all_rows(sound, 1).faults == [f"org 1: has counted {taken - 1} {counter}, and {taken} is taken"]


LANED = run_row(2, has_lane=True)
LANE = Lane(LANED.run, 1, QueueState.HELD, "a", 5, {"gpu": "yes"}, 4, expires_at=9)


@pytest.fixture
def laned(sound: apsw.Connection) -> apsw.Connection:
    """The same with a run that a worker holds."""
    fields = {"lanes": {LANE.run: LANE}, "counters": {1: Counters(4, 9, 9)}}
    write_changes(sound, run_changes(LANED, [event(4, 1, run=2)], **fields))
    return sound


@pytest.mark.parametrize("column", ["state", "agent", "label_set", "queue_position", "queued_at", "expires_at"])
def test_a_lane_whose_columns_say_something_else_is_found(laned: apsw.Connection, column: str) -> None:
    assert all_rows(laned, 1).faults == []
    laned.execute(f"UPDATE lane SET {column} = '77'")
    assert all_rows(laned, 1).faults == [f"lane of run {LANED.run_id}: its columns do not say what the row says"]


def test_a_lane_that_does_not_go_with_its_run_is_found(laned: apsw.Connection) -> None:
    ended = msgspec.structs.replace(LANED, status=Status.LOST)
    write_changes(laned, run_changes(ended, [event(5, 2, run=2)], before=LANED, counters={1: Counters(5, 9, 9)}))
    assert all_rows(laned, 1).faults == [f"lane of run {LANED.run_id}: is held, its run has ended"]
    laned.execute("DELETE FROM lane")
    assert all_rows(laned, 1).faults == [f"run {LANED.run_id}: was made for workers, and has no lane"]
    write_changes(laned, Changes(lanes={RUN.run: msgspec.structs.replace(LANE, run=RUN.run)}))
    assert f"lane of run {RUN.run_id}: there is no run that was made for workers" in all_rows(laned, 1).faults


@pytest.mark.parametrize(
    ("change", "fault"), [("scopes = 'ingest,root'", "cannot be read"), ("user_id = 'nobody'", "its user is not there")]
)
def test_a_key_that_lets_nobody_in_is_found(sound: apsw.Connection, change: str, fault: str) -> None:
    sound.execute(f"UPDATE api_key SET {change}")
    [found] = all_rows(sound, 1).faults
    assert found.startswith("api_key ")
    assert fault in found
