"""`verify` finds every kind of difference, and a rebuild gives the rows that were folded as the events came."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import Phase, given, settings

from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock
from tests.support.rig import Rig, open_rig
from tests.support.stories import play, stories
from towerlog.engine import verify
from towerlog.engine.audit.outside import store_rebuilt
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.model.audit import SERVER, AuditEntry
from towerlog.model.command import CreateKey, CreateThread
from towerlog.model.event import AgentHeartbeat, EventType, History
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.principal import Scope
from towerlog.model.question import RunFilter
from towerlog.model.usage import Usage, UsageReport

E = EventType
PROJECTIONS = ("runs", "threads", "agents", "usage", "checkpoints", "texts")
LONG = "x" * 4000
"""Long enough to be stored compressed, as an event's body and as a message."""
EVENTS = 6


async def tell(rig: Rig) -> None:
    """Two runs with a little of everything: a history of two messages with metas, usage, a feed, a failure."""
    one, two = traced("one"), traced("two")
    asks = CheckpointFacts(0, "waiting_for_approval")
    spent = UsageReport(Usage(input_tokens=10, cost_nanos=5), "delta")
    history = History([b'{"content":"hi"}', b'{"content":"%s"}' % LONG.encode()], [b'{"at":1}', b'{"at":2}'])
    await rig.append(
        draft(E.RUN_STARTED, one, agent="a", facts=Facts(effects=Effects(is_start=True, model="m"))),
        draft(E.MODEL_CALL, one, agent="a", facts=Facts(effects=Effects(report=spent))),
        draft(
            E.CHECKPOINT,
            one,
            {"step_index": 0},
            agent="a",
            facts=Facts(effects=Effects(checkpoint=asks)),
            history=history,
        ),
        draft(E.STEP, two, {"text": LONG}, agent="b", event_id="id"),
        draft(E.RUN_FAILED, two, agent="b", facts=Facts(error="no")),
        draft(E.STEP, two, agent="b"),
    )


TABLES = (
    "org",
    "audit_entry",
    "event",
    "run",
    "thread",
    "agent",
    "usage",
    "checkpoint",
    "message",
    "node",
    "meta_list",
)


@pytest.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Rig, dict[str, list[Any]]]]:
    """One rig with the story told, for all forgeries, and every row as it was before the first."""
    async with open_rig(tmp_path_factory.mktemp("told")) as rig:
        await tell(rig)
        for name in ("one", "two", "three"):
            await rig.do(CreateKey(name, (Scope.READ,)))
        rows = await rig.store.writer.call(
            lambda db: {name: list(db.execute(f"SELECT * FROM {name}")) for name in TABLES}
        )
        yield rig, rows


@pytest.fixture
async def whole(told: tuple[Rig, dict[str, list[Any]]]) -> AsyncIterator[Rig]:
    """The told rig, which is put right again afterwards."""
    rig, rows = told
    yield rig

    def restore(db: apsw.Connection) -> None:
        with db:
            for name, values in rows.items():
                db.execute(f"DELETE FROM {name}")
                db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values[0]))})", values)

    await rig.store.writer.call(restore)
    rig.engine.forget()


async def forge(rig: Rig, sql: str) -> None:
    """Changes the database behind the engine's back."""

    def change(db: apsw.Connection) -> int:
        before = db.total_changes()
        db.execute(sql)
        return db.total_changes() - before

    assert await rig.store.writer.call(change) > 0, "nothing was forged"


async def complaints(rig: Rig) -> list[str]:
    """What `verify` says; it must count what it says."""
    found: list[str] = []
    assert await verify_org(rig.store, rig.org, found.append) == len(found)
    return found


def at(position: int) -> str:
    """The event at a position, in SQL."""
    return f"WHERE key & 0xFFFFFFFFFF = {position}"


def doc(table: str, field: str, value: str) -> str:
    """Changes one field of the stored rows themselves, beside all their columns."""
    return f"UPDATE {table} SET doc = CAST(json_set(CAST(doc AS TEXT), '$.{field}', {value}) AS BLOB)"


RUN_COPIED = (
    "INSERT INTO run SELECT run + 50, org, 'forged', thread_id, trace_id, foreign_id, agent, status, model, persona_id,"
    " parent_key, began_at, cancel_requested_at, quiet, seen_at, ended_at, ended_position, held, CAST(json_set("
    "CAST(doc AS TEXT), '$.run', run + 50, '$.run_id', 'forged') AS BLOB) FROM run LIMIT 1"
)

LOG = {
    "a hole in the seqs": (f"DELETE FROM event {at(2)}", "position 3: seq 3 follows 1"),
    "a lost beginning": (f"DELETE FROM event {at(1)}", "its run has no beginning in the log"),
    "a lost end": (f"DELETE FROM event {at(EVENTS)}", f"the log ends at position 5, {EVENTS} was given out"),
    "a number given out for nothing": ("UPDATE org SET position = position + 1", "the log ends at position 6, 7"),
    "a number taken back": ("UPDATE org SET position = position - 1", "differs from its rebuild in"),
    "another body": (f"UPDATE event SET data = CAST('{{}}' AS BLOB), flags = 0 {at(4)}", "position 4: its hash"),
    "another spelling": (f"UPDATE event SET data = CAST('{{ }}' AS BLOB) {at(1)}", "position 1: its hash"),
    "another hash": (f"UPDATE event SET hash = zeroblob(32) {at(3)}", "position 3: its hash"),
    "a hash that the next one does not follow": (f"UPDATE event SET hash = zeroblob(32) {at(1)}", "position 2: its"),
    "other facts": (f"UPDATE event SET facts = CAST('{{}}' AS BLOB) {at(5)}", "position 5: its hash"),
    "no facts": (f"UPDATE event SET facts = NULL {at(5)}", "position 5: its hash"),
    "another type": (f"UPDATE event SET type = 'message.delta' {at(6)}", "position 6: its hash"),
    "another time": (f"UPDATE event SET recorded_at = recorded_at + 1 {at(2)}", "position 2: its hash"),
    "another sender's time": (f"UPDATE event SET occurred_at = 0 {at(2)}", "position 2: its hash"),
    "another dialect": (f"UPDATE event SET dialect = 'runs' {at(2)}", "position 2: its hash"),
    "another id": (f"UPDATE event SET event_id = 'di' {at(4)}", "position 4: its hash"),
    "another agent": (f"UPDATE event SET agent = agent + 1 {at(4)}", "position 4: its hash"),
    "a late event made timely": (f"UPDATE event SET flags = 0 {at(6)}", "position 6: its hash"),
    "another run": (f"UPDATE event SET run = run - 1, seq = 4 {at(6)}", "position 6: its hash"),
    "another place": (f"UPDATE event SET key = key + 2 {at(6)}", "the log ends at position 5"),
    "an unknown type": (f"UPDATE event SET type = 'nonsense' {at(2)}", "position 2 cannot be read"),
    "rotten facts": (f"UPDATE event SET facts = CAST('{{' AS BLOB) {at(5)}", "position 5 cannot be read"),
    "a rotten body": (f"UPDATE event SET data = zeroblob(9) {at(4)}", "position 4 cannot be read"),
    "a feed that misses one": (f"UPDATE event SET feed = NULL {at(2)}", "position 2: its place in its agent's feed"),
    "a feed with one too many": (f"UPDATE event SET feed = agent {at(4)}", "position 4: its place in its agent's feed"),
    "a feed of another agent": (f"UPDATE event SET feed = feed + 1 {at(2)}", "position 2: its place in its agent's"),
}
ROWS = {
    "a run's row": (doc("run", "late_events", "7"), "differs from its rebuild in late_events"),
    "a run's text": (doc("run", "error", "'forged'"), "differs from its rebuild in error"),
    "a thread's row": (doc("thread", "run_count", "7"), "thread thread: differs from its rebuild in run_count"),
    "an agent's row": (doc("agent", "event_count", "7"), "differs from its rebuild in event_count"),
    "a checkpoint's row": (doc("checkpoint", "length", "1"), "differs from its rebuild in length"),
    "a cell's count": ("UPDATE usage SET events = events + 1", "differs from its rebuild in events"),
    "a cell's figure": ("UPDATE usage SET input_tokens = 11 WHERE input_tokens = 10", "differs from its rebuild in u"),
    "a known figure that was unknown": ("UPDATE usage SET total_tokens = 0", "differs from its rebuild in usage"),
    "a run's column": ("UPDATE run SET status = 'completed'", "its columns do not say what the row says"),
    "a run's trace": ("UPDATE run SET trace_id = 'forged'", "its columns do not say what the row says"),
    "a run's cancel": ("UPDATE run SET cancel_requested_at = 1", "its columns do not say what the row says"),
    "a run's silence": ("UPDATE run SET quiet = 1 - quiet", "its columns do not say what the row says"),
    "a run's watch": ("UPDATE run SET seen_at = 1", "its columns do not say what the row says"),
    "a thread's column": ("UPDATE thread SET created_at = 1", "thread thread: its columns do not say"),
    "an agent's column": ("UPDATE agent SET name = 'forged' WHERE name = 'a'", "its columns do not say what the row"),
    "a checkpoint's column": ("UPDATE checkpoint SET status = 'approved'", "its columns do not say what the row says"),
    "a missing run": ("DELETE FROM run WHERE trace_id = 'one'", ": is missing"),
    "a missing thread": ("DELETE FROM thread", "thread thread: is missing"),
    "a missing agent": ("DELETE FROM agent WHERE name = 'b'", "differs from its rebuild"),
    "a missing cell": ("DELETE FROM usage WHERE status = 'failed'", ": is missing"),
    "a missing checkpoint": ("DELETE FROM checkpoint", ": is missing"),
    "an unreadable run": ("UPDATE run SET doc = x'7b'", "cannot be read"),
    "an unreadable thread": ("UPDATE thread SET doc = x'7b'", "thread thread: cannot be read"),
    "an unreadable agent": ("UPDATE agent SET doc = x'7b'", "cannot be read"),
    "an unreadable checkpoint": ("UPDATE checkpoint SET doc = x'7b'", "cannot be read"),
    "a run from nowhere": (RUN_COPIED, "nothing in the log speaks of it"),
    "a cell from nowhere": (
        "INSERT INTO usage SELECT org, hour + 1, agent, model, status, events, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
        " NULL, NULL, NULL FROM usage",
        "nothing in the log speaks of it",
    ),
}
CONTENT = {
    "another message": ("UPDATE message SET body = CAST('{}' AS BLOB), packed = 0", "was changed, its content has"),
    "another message of the node": ("UPDATE node SET message = zeroblob(16)", "was changed, its content has"),
    "another way back": ("UPDATE node SET parent = zeroblob(16) WHERE parent <> x''", "was changed, its content has"),
    "another meta": ("UPDATE meta_list SET body = CAST('[1]' AS BLOB), packed = 0", "was changed, its content has"),
    "a missing message": ("DELETE FROM message WHERE packed = 0", "1 of 2 messages are there"),
    "a missing node": ("DELETE FROM node WHERE parent = x''", "1 of 2 messages are there"),
    "missing metas": ("DELETE FROM meta_list", "its metas are not all there"),
    "a rotten message": ("UPDATE message SET body = zeroblob(9) WHERE packed", "its history cannot be read"),
    "rotten metas": ("UPDATE meta_list SET body = CAST('[' AS BLOB)", "was changed, its content has"),
}
ENTRY = "audit entry 3: its hash does not fit"
AUDIT = {
    "another reason": (f"UPDATE audit_entry SET doc = CAST(replace(doc, 'two', 'TWO') AS BLOB) {at(3)}", ENTRY),
    "another spelling of an entry": (f"UPDATE audit_entry SET doc = CAST(doc || ' ' AS BLOB) {at(3)}", ENTRY),
    "another hash of an entry": (f"UPDATE audit_entry SET hash = zeroblob(32) {at(3)}", ENTRY),
    "an entry's hash that the next does not follow": (
        f"UPDATE audit_entry SET hash = zeroblob(32) {at(2)}",
        "audit entry 3: its hash does not fit: this entry or one before it was changed",
    ),
    "an entry of another organisation": (f"UPDATE audit_entry SET org = 7 {at(3)}", "audit entry 3: its columns do"),
    "an entry that cannot be read": (f"UPDATE audit_entry SET doc = x'7b' {at(3)}", "audit entry 3: cannot be read"),
    "a hole in the audit": (f"DELETE FROM audit_entry {at(3)}", "audit: entry 3 is missing"),
    "several holes in the audit": ("DELETE FROM audit_entry WHERE key & 0xFF IN (2, 3)", "audit: entries 2 to 3 are"),
    "an audit without a beginning": (f"DELETE FROM audit_entry {at(1)}", "audit: entry 1 is missing"),
    "an audit cut short": (f"DELETE FROM audit_entry {at(4)}", "audit: entry 4 is missing at its end"),
    "an empty audit": ("DELETE FROM audit_entry", "audit: entries 1 to 4 are missing at its end"),
    "an audit cut short with its counter": (
        f"UPDATE org SET audited = 3; DELETE FROM audit_entry {at(4)}",
        "audit: its last entry, 3, is not the one that the organisation knows as its last",
    ),
    "an entry too many": (
        "INSERT INTO audit_entry SELECT key + 1, org, at, latest_at, user_id, user_name, key_id, key_name, rule_id,"
        " rule_name, budget_id, budget_name, link_id, sent_to, action, object_id, hash, doc"
        f" FROM audit_entry {at(4)}",
        "audit entry 5: its hash does not fit",
    ),
    "entries in another order": (
        f"UPDATE audit_entry SET key = key + 10 {at(2)}; UPDATE audit_entry SET key = key - 1 {at(3)};"
        " UPDATE audit_entry SET key = key - 9 WHERE key & 0xFF = 12",
        "audit entry 2: its hash does not fit",
    ),
    "an action that is found by another name": (
        f"UPDATE audit_entry SET action = 'key.revoke' {at(3)}",
        "audit entry 3: its columns do not say what the entry says",
    ),
    "an actor who is found by another name": (
        f"UPDATE audit_entry SET user_name = 'eve' {at(3)}",
        "audit entry 3: its",
    ),
    "an object that is not found": (f"UPDATE audit_entry SET object_id = 'x' {at(3)}", "audit entry 3: its columns"),
    "a time that is not found": (f"UPDATE audit_entry SET at = at - 9 {at(3)}", "audit entry 3: its columns do not"),
    "a time that hides what follows": (
        f"UPDATE audit_entry SET latest_at = latest_at + 9 {at(3)}",
        "audit entry 3: its columns do not say what the entry says",
    ),
}
FAULTS = LOG | ROWS | CONTENT | AUDIT
PLACE = re.compile(r"(position|audit entry) (\d+)\b")
"""The event or the entry of the audit that a complaint begins with."""
ALSO_NAMED = {
    "a lost beginning": [2, 3],
    "a hash that the next one does not follow": [1, 2],
    "a rotten body": [4, 5, 6],
    "an unknown type": [2, 3],
    "rotten facts": [5, 6],
    "an entry's hash that the next does not follow": [2, 3],
    "another hash of an entry": [3, 4],
    "entries in another order": [2, 3, 4],
    "a time that hides what follows": [3, 4],
}
"""Forgery → every event or entry that is named, where what follows the forged one does not fit either."""
IDENTITIES = {"a missing agent", "an agent's column", "a thread's column", "an unreadable agent"}
"""What names an agent or dates a thread stands in no event: it is given to a rebuild, not made by it."""


async def test_a_log_that_is_whole_has_no_differences(whole: Rig) -> None:
    assert len(await whole.log()) == EVENTS
    assert await complaints(whole) == []


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_every_forgery_is_found_and_named(whole: Rig, name: str) -> None:
    sql, expected = FAULTS[name]
    await forge(whole, sql)
    found = await complaints(whole)
    assert any(expected in complaint for complaint in found), found
    own = [int(place[2]) for place in [PLACE.match(expected)] if place is not None]
    named = [int(place[2]) for place in map(PLACE.match, found) if place is not None]
    assert sorted(set(named)) == ALSO_NAMED.get(name, own), "no event or entry is named that nobody has touched"


@pytest.mark.parametrize("name", ["another body", "a rotten body", "an unknown type"])
async def test_one_bad_event_hides_no_other(whole: Rig, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows it, in its page and in later ones, is checked all the same."""
    monkeypatch.setattr(verify, "PAGE_EVENTS", 4)
    await forge(whole, FAULTS[name][0])
    await forge(whole, f"UPDATE event SET dialect = 'forged' {at(6)}")
    assert any("position 6: its hash" in complaint for complaint in await complaints(whole))


@pytest.mark.parametrize("page_events", [1, 2, 5, 6, 7])
async def test_the_size_of_a_page_changes_nothing(
    whole: Rig, monkeypatch: pytest.MonkeyPatch, page_events: int
) -> None:
    monkeypatch.setattr(verify, "PAGE_EVENTS", page_events)
    reached: list[int] = []
    assert await verify_org(whole.store, whole.org, progress=reached.append) == 0
    assert reached == [*range(page_events, EVENTS, page_events), EVENTS]


async def test_one_changed_entry_is_the_only_one_that_is_named(whole: Rig) -> None:
    await forge(whole, AUDIT["another reason"][0])
    assert await complaints(whole) == [f"{ENTRY}: this entry or one before it was changed"]


@pytest.mark.parametrize("name", ["an entry that cannot be read", "a hole in the audit"])
async def test_one_bad_entry_hides_no_other(whole: Rig, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PAGE_EVENTS", 2)
    await forge(whole, AUDIT[name][0])
    await forge(whole, f"UPDATE audit_entry SET user_name = 'eve' {at(4)}")
    found = await complaints(whole)
    assert any("audit entry 4: its columns" in one for one in found), found


async def test_a_rebuild_keeps_the_audit_and_adds_to_it_what_it_is_told(rig: Rig) -> None:
    await tell(rig)
    await rig.do(CreateKey("ci", (Scope.READ,)))
    before = await rig.store.audit_chain(rig.org, 0, 100)

    def told(events: int) -> list[AuditEntry]:
        [org] = org_rows
        return [store_rebuilt(SERVER, org, rig.clock.now_ms(), events, [])]

    org_rows = await rig.store.orgs()
    await rebuild_org(rig.store, rig.org, told=told)
    after = await rig.store.audit_chain(rig.org, 0, 100)
    assert after[:-1] == before
    assert msgspec.json.decode(after[-1].doc)["after"] == {"events": EVENTS}
    rig.engine.forget()
    await rig.do(CreateKey("later", (Scope.READ,)))
    assert await complaints(rig) == []


async def test_a_check_looks_at_its_own_organisation_alone(rig: Rig) -> None:
    await tell(rig)
    other = await rig.make_org("other")
    await forge(rig, "UPDATE event SET dialect = 'forged'")
    assert await verify_org(rig.store, other.org) == 0
    assert await verify_org(rig.store, rig.org) == EVENTS


async def test_what_is_written_meanwhile_is_no_difference(rig: Rig) -> None:
    """The rows and the log are of one moment, whatever is committed while they are read."""
    await tell(rig)
    grown: list[int] = []

    async def write() -> None:
        while len(grown) < 20:
            await rig.append(draft(run=traced("one"), agent="a"))
            grown.append(1)

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await complaints(rig) == []
    await writing
    assert len(await rig.log()) == EVENTS + 20


@pytest.mark.parametrize("name", sorted(ROWS.keys() - IDENTITIES))
async def test_a_rebuild_heals_every_projection(whole: Rig, name: str) -> None:
    before = await projections(whole, whole.org)
    await forge(whole, ROWS[name][0])
    assert await rebuild_org(whole.store, whole.org) == EVENTS
    assert await complaints(whole) == []
    assert await projections(whole, whole.org) == before


async def projections(rig: Rig, org: int) -> dict[str, list[bytes]]:
    """Every row of every projection, in an order of its own."""
    rows = await rig.store.rows(org)
    return {name: sorted(map(msgspec.json.encode, getattr(rows, name))) for name in PROJECTIONS}


async def test_runs_from_before_texts_were_kept_have_none_until_a_rebuild(rig: Rig) -> None:
    """As the second migration finds them; what they say afterwards alone would be no text of theirs."""
    await rig.append(draft(E.RUN_STARTED, traced("old"), {"input": "tower"}))
    await forge(rig, "DELETE FROM run_text")
    await rig.append(draft(E.RUN_MESSAGE, traced("old"), {"content": "castle"}))
    await rig.append(draft(E.RUN_STARTED, traced("new"), {"input": "bridge"}))
    assert await complaints(rig) == []

    async def found(word: str) -> int:
        return len(await rig.store.runs(rig.org, RunFilter(q=word), 10, None))

    assert [await found(word) for word in ("tower", "castle", "bridge")] == [0, 0, 1]
    await rebuild_org(rig.store, rig.org)
    assert [await found(word) for word in ("tower", "castle", "bridge")] == [1, 1, 1]
    assert await complaints(rig) == []


async def test_a_text_with_a_nul_is_whole(rig: Rig) -> None:
    one = traced("one")
    await rig.append(draft(E.RUN_STARTED, one, {"input": "a\0b"}))
    for said in ("first", "sec\0ond", "third"):
        await rig.append(draft(E.RUN_MESSAGE, one, {"content": said}))
    assert await complaints(rig) == []
    for word in ("first", "ond", "third", "b"):
        assert len(await rig.store.runs(rig.org, RunFilter(q=word), 10, None)) == 1, word


async def test_a_rebuild_keeps_what_no_event_tells(rig: Rig) -> None:
    """Titles, policies and signs of life are no events; a thread without runs and an idle agent stay."""
    await tell(rig)
    await rig.do(CreateThread("thread", "A title", "reject"))
    await rig.do(CreateThread("empty", "Nothing yet"))
    rig.clock.advance(1000)
    await rig.append(AgentHeartbeat("a"), AgentHeartbeat("idle"))
    before = await projections(rig, rig.org)
    await rebuild_org(rig.store, rig.org)
    assert await projections(rig, rig.org) == before
    rig.engine.forget()
    thread = await rig.store.thread(rig.org, "thread")
    assert thread is not None
    assert (thread.title, thread.policy, thread.run_count) == ("A title", "reject", 2)


async def test_after_a_rebuild_the_engine_goes_on_where_it_was(rig: Rig) -> None:
    await tell(rig)
    await rebuild_org(rig.store, rig.org)
    rig.engine.forget()
    [same, new] = await rig.append(
        draft(E.STEP, traced("two"), {"text": LONG}, agent="b", event_id="id"), draft(run=traced("three"))
    )
    assert (same.duplicate, new.seq, new.position) == (True, 1, EVENTS + 1)  # type: ignore[union-attr]
    assert await complaints(rig) == []


def test_a_rebuild_equals_what_was_folded_as_it_came(tmp_path: Path) -> None:
    """For random stories, row for row and byte for byte."""
    names = map("org {}".format, itertools.count())

    with asyncio.Runner() as runner:

        @settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
        @given(stories)
        def holds(story: list[tuple[str, Any]]) -> None:
            runner.run(check(rig, next(names), story))

        opened = open_rig(tmp_path)
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check(rig: Rig, name: str, story: list[tuple[str, Any]]) -> None:
    """Plays a story in an organisation of its own, then rebuilds that."""
    who = await rig.make_org(name)
    await play(rig, story, who)
    before = await projections(rig, who.org)
    events = await rebuild_org(rig.store, who.org)
    assert events == len(await rig.log(who.org))
    assert await projections(rig, who.org) == before


@pytest.mark.parametrize("starts_at", [-30 * 86_400_000, -2, 0])
async def test_a_clock_before_1970_makes_no_difference(tmp_path: Path, starts_at: int) -> None:
    """Of a machine whose clock has lost its battery, and was set right later."""
    clock = FakeClock(starts_at)
    async with open_rig(tmp_path, clock=clock) as rig:
        await rig.do(CreateKey("first", (Scope.READ,)))
        clock.jump(2)
        await rig.do(CreateKey("second", (Scope.READ,)))
        clock.jump(-1)
        await rig.do(CreateKey("third", (Scope.READ,)))
        found: list[str] = []
        assert await verify_org(rig.store, rig.principal.org, found.append) == 0, found
