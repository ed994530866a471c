"""The database is moved away, or replaced, while a server has it open: nothing is acknowledged that has no name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.backends import SqliteBackend
from tests.support.fakes import FakeClock, SeededIds
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.errors import StoreMoved
from towerlog.store.sqlite.store import READERS, SqliteStore, Where

REFUSED = "the database was moved or removed while it was in use"
FOLDER_REFUSED = "the data folder was moved or removed while it was in use"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


def sent(client: httpx2.Client, number: int) -> int:
    """The status of one event."""
    return ingest(client, sdk_event("step", "moved", {"n": number}, event_id=f"e{number}")).status_code


@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_sent_meanwhile_is_refused_until_it_is_put_back(server: Server, replaced: bool) -> None:
    database, aside = server.data_dir / "towerlog.db", server.data_dir / "aside.db"
    with server.client() as client, server.client(None) as nobody:
        assert sent(client, 1) == 200
        database.rename(aside)
        if replaced:
            database.write_bytes(b"")
        assert sent(client, 2) == 503
        server.says(REFUSED)
        assert nobody.get("/readyz").json()["status"] == "writes_refused"
        aside.rename(database)
        wait_until(lambda: sent(client, 3) == 200, "writes to be taken again")
        wait_until(lambda: nobody.get("/readyz").status_code == 200, "it to be ready again")
        run_id = client.get("/v1/runs").json()[0]["run_id"]
        stored = [event["event_id"] for event in client.get(f"/api/v1/runs/{run_id}/events").json()["data"]]
    assert stored == ["e1", "e3"]
    server.restart()
    assert server.cli_json("verify")["ok"]


async def test_who_first_asks_while_it_is_moved_asks_no_other_file(tmp_path: Path) -> None:
    """A thread opens its connection at its first question, and keeps it."""
    path, aside = tmp_path / "towerlog.db", tmp_path / "aside.db"
    store = await SqliteBackend.fresh(tmp_path).make().open(FakeClock(), SeededIds())
    try:
        path.rename(aside)
        with pytest.raises(StoreMoved, match=REFUSED):
            await store.ping()
        # Another one, which could be asked as well.
        path.write_bytes(aside.read_bytes())
        with pytest.raises(StoreMoved, match=REFUSED):
            await store.ping()
        aside.rename(path)
        await store.ping()
    finally:
        await store.close()


async def test_no_reader_that_had_it_open_before_answers_for_it(tmp_path: Path) -> None:
    """Whichever of the threads is asked: a page that says now this and now that is of no use."""
    path, aside = tmp_path / "towerlog.db", tmp_path / "aside.db"
    store = await SqliteBackend.fresh(tmp_path).make().open(FakeClock(), SeededIds())
    assert isinstance(store, SqliteStore)
    together = threading.Barrier(READERS)
    try:
        readers = store.pool(Where.READERS)
        await asyncio.gather(*(readers.call(lambda _: together.wait(10)) for _ in range(READERS)))
        path.rename(aside)
        for _ in range(4 * READERS):
            with pytest.raises(StoreMoved, match=REFUSED):
                await store.ping()
        aside.rename(path)
        await store.ping()
    finally:
        await store.close()


async def test_who_meets_a_folder_that_is_gone_first_says_so(tmp_path: Path) -> None:
    """Whether a question, a write or the look at the disk meets it: the log names only what was met first."""
    folder, aside = tmp_path / "data", tmp_path / "aside"
    folder.mkdir()
    store = await SqliteBackend.fresh(folder).make().open(FakeClock(), SeededIds())
    try:
        folder.rename(aside)
        with pytest.raises(StoreMoved, match=FOLDER_REFUSED):
            await store.ping()
        with pytest.raises(StoreMoved, match=FOLDER_REFUSED):
            async with store.begin() as unit:
                await unit.try_to_write()
        aside.rename(folder)
        await store.ping()
    finally:
        await store.close()


def test_a_folder_that_is_moved_away_is_told_as_that_and_not_as_a_full_disk(server: Server) -> None:
    folder, aside = server.data_dir, server.data_dir.with_name("aside")
    with server.client() as client, server.client(None) as nobody:
        assert sent(client, 1) == 200
        folder.rename(aside)
        wait_until(lambda: nobody.get("/readyz").status_code == 503, "it to be not ready")
        assert nobody.get("/readyz").json()["status"] == "writes_refused"
        assert sent(client, 2) == 503
        server.says(FOLDER_REFUSED)
        aside.rename(folder)
        wait_until(lambda: sent(client, 3) == 200, "writes to be taken again")
        wait_until(lambda: nobody.get("/readyz").status_code == 200, "it to be ready again")
