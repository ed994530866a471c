"""The table of questions: each entry has its signature from the contract, and its answer from the threads it names."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from tests.support.fakes import FakeClock, SeededIds
from tests.support.tables import table
from towerlog.errors import StorageFailed
from towerlog.store.base import Store, Unit
from towerlog.store.damage import FAILURES_NOT_READY, Damages
from towerlog.store.sqlite.connections.connection import LOW_LOG_BYTES, log_bytes
from towerlog.store.sqlite.connections.pools import Ask, AskInTime, Locked, Pool, Where
from towerlog.store.sqlite.store import SqliteStore, SqliteUnit, open_reader, open_store
from towerlog.store.sqlite.upkeep import matching_files
from towerlog.store.trouble import Trouble


def methods(contract: type) -> Iterator[str]:
    for name, member in inspect.getmembers(contract, inspect.isfunction):
        if not name.startswith("_"):
            assert callable(member)
            yield name


QUESTIONS = [(Store, SqliteStore, name) for name in methods(Store)] + [
    (Unit, SqliteUnit, name) for name in methods(Unit)
]


BOUND = (Ask, AskInTime)


def parameters(function: Callable[..., object], own: int = 1) -> list[tuple[str, object]]:
    """Names and defaults, without the first `own`: `self`, or the connection and perhaps a clock."""
    return [(one.name, one.default) for one in list(inspect.signature(function).parameters.values())[own:]]


@table("contract, backend, name", QUESTIONS, ids=lambda value: getattr(value, "__name__", value))
def test_every_method_of_the_contract_takes_the_arguments_that_it_says(
    contract: type, backend: type, name: str
) -> None:
    bound = getattr(backend, name)
    function = bound.function if isinstance(bound, BOUND) else bound
    own = 2 if isinstance(bound, AskInTime) else 1
    assert parameters(function, own) == parameters(getattr(contract, name))


@pytest.mark.parametrize(("contract", "backend"), [(Store, SqliteStore), (Unit, SqliteUnit)])
def test_the_table_holds_nothing_that_the_contract_does_not_know(contract: type, backend: type) -> None:
    table = {name for part in backend.__mro__ for name, member in vars(part).items() if isinstance(member, BOUND)}
    assert table
    assert table <= set(methods(contract))


def test_what_a_unit_asks_is_asked_in_the_order_of_the_commits() -> None:
    asked = {member.where for member in vars(SqliteUnit).values() if isinstance(member, Ask)}
    assert asked == {Where.WRITER}


def whose(db: apsw.Connection) -> str:
    return threading.current_thread().name


@pytest.mark.parametrize(
    ("where", "thread"),
    [
        (Where.READERS, "towerlog-read"),
        (Where.KEYS, "towerlog-keys"),
        (Where.WRITER, "towerlog-write"),
        (Where.BETWEEN_UNITS, "towerlog-write"),
    ],
    ids=lambda value: value.name if isinstance(value, Where) else value,
)
async def test_a_question_is_answered_by_the_threads_that_it_names(tmp_path: Path, where: Where, thread: str) -> None:
    class Asked:
        question = Ask(whose, where)

        def pool(self, where: Where) -> Pool | Locked:
            return store.pool(where)

    store = await open_store(tmp_path / "towerlog.db", FakeClock(), SeededIds(1))
    try:
        assert (await Asked().question()).startswith(thread + "_")
    finally:
        await store.close()


async def test_an_error_of_sqlite_leaves_as_ours_and_says_whether_the_disk_is_at_fault(tmp_path: Path) -> None:
    def fail(db: apsw.Connection, error: Exception) -> None:
        raise error

    pool = Pool(1, lambda: apsw.Connection(str(tmp_path / "x.db")), "test", Damages(lambda: 0), Trouble())
    try:
        for error, words, fatal, is_damage in (
            (apsw.BusyError("b"), "another program holds the lock for writing of the database", False, False),
            (apsw.IOError("i"), "IOError: i", True, False),
            (apsw.NotADBError("n"), "its beginning is damaged", True, False),
            (apsw.CorruptError("c"), r"damaged \(c\)", True, True),
            (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "u"), "damaged .*: u", True, True),
        ):
            with pytest.raises(StorageFailed, match=words) as caught:
                await pool.call(fail, error)
            assert (caught.value.fatal, caught.value.is_damage) == (fatal, is_damage)
    finally:
        pool.close()


async def test_a_disk_that_fails_reads_again_and_again_is_not_ready(tmp_path: Path) -> None:
    def fail(db: apsw.Connection) -> None:
        raise apsw.IOError("disk I/O error")

    store = await open_store(tmp_path / "towerlog.db", FakeClock(), SeededIds())
    try:
        for _ in range(FAILURES_NOT_READY):
            await store.ping()
            with pytest.raises(StorageFailed):
                await store.pool(Where.READERS).call(fail)
        assert store.damages.failures == FAILURES_NOT_READY
        with pytest.raises(StorageFailed, match="again and again"):
            await store.ping()
    finally:
        await store.close()


async def test_no_commit_comes_between_the_end_of_a_log_and_the_name_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stand in a log that has only the name of the one before it."""
    store = await open_store(tmp_path / "towerlog.db", FakeClock(), SeededIds())
    told: list[str] = []
    event_loop = asyncio.get_running_loop()
    is_done, begin = matching_files._is_done, matching_files.begin_log

    def ended(db: apsw.Connection, mode: int) -> bool:
        assert is_done(db, mode)
        told.append("ended")
        queued = threading.Event()

        def other() -> None:
            store.writer.submit(lambda _: told.append("commit"))
            queued.set()

        event_loop.call_soon_threadsafe(other)
        assert queued.wait(30)
        return True

    def begun(db: apsw.Connection, name: str) -> None:
        begin(db, name)
        told.append("begun")

    with monkeypatch.context() as patch:
        patch.setattr(matching_files, "_is_done", ended)
        patch.setattr(matching_files, "begin_log", begun)
        await store._checkpoint(truncate=True)
        await store.writer.call(lambda _: None)
    await store.close()
    assert told == ["ended", "begun", "commit"]


async def test_who_only_reads_leaves_a_long_log_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "towerlog.db"
    store = await open_store(path, FakeClock(), SeededIds())
    try:
        await store.writer.call(
            lambda db: db.execute("INSERT INTO meta VALUES ('long', ?)", ("x" * 2 * LOW_LOG_BYTES,))
        )
        before = log_bytes(path)
        assert before > LOW_LOG_BYTES
        reader = await open_reader(path, FakeClock())
        try:
            async with reader.begin():
                assert await reader.orgs() == []
        finally:
            await reader.close()
        assert log_bytes(path) == before
    finally:
        await store.close()
