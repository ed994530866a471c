"""A database as a server has left it, and the ways in which a disk changes it behind everybody's back."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.support.senders import checkpoint, ingest, runner_event, save_batch, sdk_event
from tests.support.server import Server
from towerlog.store.sqlite.connections.connection import PAGE_BYTES

TABLE_LEAF, INDEX_LEAF, TABLE_INNER = 0x0D, 0x0A, 0x05
STEPS = 120
"""Events of the run between its start and its end: several pages of the table."""
LAST = STEPS + 2
TEXT = "x" * 400
AGENT, THREAD, RUN = "alpha", "talk", "sdk-run"
HISTORY = [{"role": "user", "content": "the first question"}, {"role": "assistant", "content": "the only answer"}]


def fill(server: Server) -> None:
    """One ended run of many events, each with an id of its own, and a thread with a history."""
    client = server.client()
    ingest(client, sdk_event("run_start", RUN, {"input": "go"}, agent_name=AGENT, event_id="id-0001"))
    for number in range(2, LAST):
        body = {"tool_name": "t", "arguments": {"mark": mark(number), "text": TEXT}}
        ingest(client, sdk_event("tool_call", RUN, body, agent_name=AGENT, event_id=event_id(number)))
    ingest(client, sdk_event("run_end", RUN, {"output": "done"}, agent_name=AGENT, event_id=event_id(LAST)))
    save_batch(client, runner_event("thread_started", THREAD, "trace-1"))
    save_batch(client, checkpoint(THREAD, "trace-1", 1, history=HISTORY))


def mark(seq: int) -> str:
    """What only the body of this event has in it."""
    return f"mark-{seq:04}-"


def event_id(seq: int) -> str:
    """The sender's id of an event."""
    return f"id-{seq:04}"


def copy_of(filled: Path, folder: Path) -> Path:
    """A data folder with the same database, to be damaged."""
    folder.mkdir()
    copy = folder / "towerlog.db"
    shutil.copyfile(filled, copy)
    return copy


def change_bytes(path: Path, sought: bytes, instead: bytes, *, page_kind: int = TABLE_LEAF) -> int:
    """Changes the one place on pages of this kind where these bytes are; the number of its page."""
    content = bytearray(path.read_bytes())
    [at] = [at for at in found_at(content, sought) if content[_page_start(at)] == page_kind]
    assert len(sought) == len(instead)
    content[at : at + len(sought)] = instead
    path.write_bytes(content)
    return at // PAGE_BYTES


def ruin_page(path: Path, sought: bytes, *, page_kind: int = TABLE_LEAF) -> int:
    """Overwrites the whole page that has these bytes, as a write that went astray does; the number of the page."""
    content = bytearray(path.read_bytes())
    [at] = [at for at in found_at(content, sought) if content[_page_start(at)] == page_kind]
    start = _page_start(at)
    content[start : start + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    return start // PAGE_BYTES


def ruin_pages_of(path: Path, name: str) -> int:
    """Overwrites every page of a table or an index but its place in the schema; how many."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(f"file:{path}?immutable=1", flags=flags)) as db:
        root = int(str(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).get))
    content = bytearray(path.read_bytes())
    pages = list(_tree(content, root))
    for page in pages:
        content[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    return len(pages)


def _tree(content: bytearray, page: int) -> Iterator[int]:
    """The pages of a b-tree, from its root."""
    yield page
    start = (page - 1) * PAGE_BYTES
    if content[start] in (TABLE_LEAF, INDEX_LEAF):
        return
    cells = struct.unpack_from(">H", content, start + 3)[0]
    for cell in struct.unpack_from(f">{cells}H", content, start + 12):
        yield from _tree(content, struct.unpack_from(">I", content, start + cell)[0])
    yield from _tree(content, struct.unpack_from(">I", content, start + 8)[0])


def found_at(content: bytes | bytearray, sought: bytes) -> Iterator[int]:
    """Every place where these bytes are."""
    at = content.find(sought)
    while at >= 0:
        yield at
        at = content.find(sought, at + 1)


def _page_start(at: int) -> int:
    return at - at % PAGE_BYTES


BAD_INDEXES = (
    "event_by_seq",
    pytest.param("event_by_id", marks=pytest.mark.slow),
    pytest.param("event_by_feed", marks=pytest.mark.slow),
    "run",
    pytest.param("run_by_id", marks=pytest.mark.slow),
    pytest.param("usage", marks=pytest.mark.slow),
    pytest.param("checkpoint", marks=pytest.mark.slow),
    "agent",
    pytest.param("agent_by_name", marks=pytest.mark.slow),
    pytest.param("thread", marks=pytest.mark.slow),
)
"""Tables that are made from the log, and indexes: what a rebuild makes anew."""


def mislead(path: Path, table: str) -> None:
    """Flips one bit on a page of a table that is above its rows: whoever looks for a number behind its last one is led
    back to earlier rows."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(f"file:{path}?immutable=1", flags=flags)) as db:
        root = int(str(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).get))
        last = int(str(db.execute(f"SELECT max(rowid) FROM {table}").get))
    content = bytearray(path.read_bytes())
    start = (root - 1) * PAGE_BYTES
    assert content[start] == TABLE_INNER, f"all rows of {table} are on one page"
    cells = struct.unpack_from(">H", content, start + 3)[0]
    at = start + struct.unpack_from(">H", content, start + 12 + 2 * (cells - 1))[0] + 4
    ends = next(end for end in range(at, at + 9) if content[end] < 0x80) + 1
    for place in range(ends - 1, at - 1, -1):
        for bit in range(7):
            changed = bytearray(content[at:ends])
            changed[place - at] ^= 1 << bit
            if _varint(changed) > last:
                content[at:ends] = changed
                path.write_bytes(content)
                return
    raise AssertionError("no bit of the number leads back")


def mislay(path: Path, table: str, at_least: int) -> int:
    """Flips one bit on the root of a table: whoever looks for one of so many rows is led to the page behind theirs, and
    finds nothing. How many: `at_least`, or more."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(f"file:{path}?immutable=1", flags=flags)) as db:
        root = int(str(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).get))
    content = bytearray(path.read_bytes())
    start = (root - 1) * PAGE_BYTES
    assert content[start] == TABLE_INNER, f"all rows of {table} are on one page"
    cells = struct.unpack_from(">H", content, start + 3)[0]
    for cell in struct.unpack_from(f">{cells}H", content, start + 12):
        at = start + cell + 4
        end = next(end for end in range(at, at + 9) if content[end] < 0x80)
        lost = 1 << content[end].bit_length() >> 1
        if lost >= at_least:
            content[end] ^= lost
            path.write_bytes(content)
            return lost
    raise AssertionError("no bit leads so many astray")


def _varint(found: bytes | bytearray) -> int:
    number = 0
    for byte in found:
        number = number << 7 | byte & 0x7F
    return number
