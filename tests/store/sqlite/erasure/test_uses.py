"""By what content is used: brought into indexes when an erasure asks, some rows at a time, always all of it first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import apsw
import pytest

from tests.store.plans import plans_of
from tests.support.factories import identity
from towerlog.model.checkpoint import CheckpointRow
from towerlog.store.columns.erasure import Gone, Room
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.migrate import load_migrations
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.erasure import content, uses
from towerlog.store.sqlite.erasure.content import erase_metas, erase_nodes, sweep_content
from towerlog.store.sqlite.erasure.uses import index_uses
from towerlog.store.sqlite.people.organisations import write_org
from towerlog.store.sqlite.upkeep.salvage import salvage
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes

NAMES = [bytes([number]) * 16 for number in range(64)]
LISTS = ("node_by_parent", "node_by_message", "meta_list_by_parent", "checkpoint_by_node", "checkpoint_by_metas")


def chain(org: int, first: int, end: int, parent: bytes = b"") -> Changes:
    """Nodes that go on from each other, each with a message of its own, and lists of metas alike."""
    changes = Changes()
    for number in range(first, end):
        name = NAMES[number]
        changes.messages.append(Message(org, name, b'{"n":%d}' % number))
        changes.nodes.append(HistoryNode(org, name, parent, name, number + 1))
        changes.metas.append(MetaList(org, name, parent, b"[%d]" % number))
        parent = name
    return changes


def state(org: int, step: int, name: bytes) -> Changes:
    """A checkpoint of this history with these metas."""
    row = CheckpointRow(org, 1, "a", step, "t", "d", step, step + 1, name.hex(), 1, True, "", 1, 1, metas=name.hex())
    changes = Changes()
    changes.checkpoints[1, "a", step] = row
    return changes


def in_indexes(db: apsw.Connection) -> dict[str, int]:
    """Index → its entries, of those by which uses are found."""
    return {
        name: db.execute(f"SELECT count(*) FROM {name.partition('_by_')[0]} WHERE indexed = 1").get for name in LISTS
    }


def left(db: apsw.Connection, table: str) -> list[bytes]:
    return [key for (key,) in db.execute(f"SELECT key FROM {table} ORDER BY key")]


def swept(db: apsw.Connection) -> int:
    """Sweeps all, in as many steps as that takes; how many these were."""
    before: tuple[int, int] | None = content.content_end(db)
    for steps in count():
        if before is None:
            return steps
        before = sweep_content(db, before)
    raise AssertionError


def test_what_is_written_is_in_no_index_of_uses_before_an_erasure_asks(db: apsw.Connection, org: int) -> None:
    write_changes(db, chain(org, 0, 8))
    write_changes(db, state(org, 1, NAMES[7]))
    assert set(in_indexes(db).values()) == {0}
    assert index_uses(db)
    assert in_indexes(db) == dict.fromkeys(LISTS[:3], 8) | dict.fromkeys(LISTS[3:], 1)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_nothing_is_taken_out_while_something_that_is_in_no_index_uses_it(
    db: apsw.Connection, org: int, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(uses.index_uses, "__defaults__", (rows,))
    write_changes(db, chain(org, 0, 8))
    write_changes(db, chain(org, 8, 12, NAMES[3]))
    write_changes(db, state(org, 1, NAMES[11]))
    steps = swept(db)
    assert steps >= (8 + 4) * 2 // rows
    kept = NAMES[:4] + NAMES[8:12]
    assert (left(db, "node"), left(db, "meta_list"), left(db, "message")) == (kept, kept, kept)


def test_a_step_takes_no_more_rows_than_its_bound(
    db: apsw.Connection, org: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses.index_uses, "__defaults__", (5,))
    write_changes(db, chain(org, 0, 8))
    write_changes(db, state(org, 1, NAMES[7]))
    done = []
    while not done or not done[-1][0]:
        before = db.total_changes()
        with transaction(db):
            done.append((index_uses(db), db.total_changes() - before))
    assert [rows for _, rows in done] == [5, 5, 5, 2]


def test_numbers_that_are_given_out_again_are_indexed_as_well(db: apsw.Connection, org: int) -> None:
    write_changes(db, chain(org, 0, 8))
    write_changes(db, state(org, 1, NAMES[3]))
    swept(db)
    assert left(db, "node") == NAMES[:4]
    # These have the numbers of those that are gone.
    write_changes(db, chain(org, 20, 26, NAMES[3]))
    write_changes(db, state(org, 2, NAMES[25]))
    swept(db)
    assert left(db, "node") == left(db, "meta_list") == NAMES[:4] + NAMES[20:26]


def test_a_state_that_is_told_anew_uses_its_new_history_alone(db: apsw.Connection, org: int) -> None:
    write_changes(db, chain(org, 0, 2))
    write_changes(db, chain(org, 2, 4))
    write_changes(db, state(org, 1, NAMES[1]))
    assert index_uses(db)
    write_changes(db, state(org, 1, NAMES[3]))
    swept(db)
    assert left(db, "node") == NAMES[2:4]


def test_a_message_goes_with_the_last_node_that_has_it(db: apsw.Connection, org: int) -> None:
    write_changes(db, chain(org, 0, 1))
    again = Changes()
    again.nodes.append(HistoryNode(org, NAMES[9], b"", NAMES[0], 1))
    write_changes(db, again)
    assert index_uses(db)
    erase_nodes(db, org, [NAMES[0]], Room(100, 100_000), Gone())
    assert left(db, "message") == [NAMES[0]]
    erase_nodes(db, org, [NAMES[9]], Room(100, 100_000), Gone())
    assert left(db, "message") == []


def as_it_is(path: Path) -> Path:
    return path


def salvaged(path: Path) -> Path:
    """All of it in a fresh file; checkpoints are folded from the log, which is empty here."""
    fresh, lost = salvage(path, path, lambda done, _: None)
    assert not lost
    with closing(files.open_connection(fresh)) as db:
        write_changes(db, state(1, 1, NAMES[3]))
    return fresh


@pytest.mark.parametrize("taken", [as_it_is, salvaged])
@pytest.mark.parametrize("version", [4, 5])
def test_what_was_stored_before_is_indexed_as_well(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: int, taken: Callable[[Path], Path]
) -> None:
    """By a version that has filled these indexes with every write, and by this one."""
    monkeypatch.setattr(files, "load_migrations", lambda backend: load_migrations(backend)[:version])
    with closing(files.open_connection(path)) as db:
        files.migrate(db)
        org = write_org(db, *identity(1, name="ours")).org
        write_changes(db, chain(org, 0, 8))
        write_changes(db, state(org, 1, NAMES[3]))
        if version == 5:
            assert index_uses(db)
    monkeypatch.undo()
    with closing(files.open_connection(taken(path))) as db:
        files.migrate(db)
        assert set(in_indexes(db).values()) <= ({0} if version == 4 or taken is salvaged else {1, 8})
        swept(db)
        assert left(db, "node") == left(db, "meta_list") == left(db, "message") == NAMES[:4]


def test_uses_are_asked_by_their_indexes(db: apsw.Connection, org: int) -> None:
    write_changes(db, chain(org, 0, 2))
    assert index_uses(db)

    def ask() -> None:
        erase_nodes(db, org, [NAMES[1]], Room(100, 100_000), Gone())
        erase_metas(db, org, [NAMES[1]], Room(100, 100_000), Gone())

    steps = [step for found in plans_of(db, ask).values() for step in found]
    assert not [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step], steps
    assert {name for name in LISTS for step in steps if name in step} == set(LISTS)
