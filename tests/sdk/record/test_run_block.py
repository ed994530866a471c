"""A recording: the block begins the run, is inside of it, and ends it as it ends itself."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from tests.sdk.support.ingest_server import Ingest
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.current import current_run
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_block import run_key_of
from towerlog.sdk.record.run_handles import AsyncRun, Run


def test_a_block_is_a_run(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run("a", "t1", {"q": 1}, run_key="r1", metadata={"m": 1}, labels={"l": "x"}) as run:
        assert isinstance(run, Run)
        assert current_run() is run
        run.result = {"ok": True}
    assert current_run() is None
    assert recorder.flush(10)
    began, ended = ingest.of("r1")
    assert (began["agent"], began["thread"]) == ("a", "t1")
    assert began["data"] == {"input": {"q": 1}, "metadata": {"m": 1}, "labels": {"l": "x"}}
    assert (ended["type"], ended["data"]) == ("run.completed", {"result": {"ok": True}})
    assert "thread" not in ended


def test_an_exception_fails_the_run_and_goes_on(recorder: Recorder, ingest: Ingest) -> None:
    with pytest.raises(ValueError, match="no"), recorder.record_run(run_key="r1"):
        raise ValueError("no\nway")
    assert current_run() is None
    assert recorder.flush(10)
    assert ingest.of("r1")[-1]["data"] == {"error": "ValueError: no way"}


async def test_a_cancelled_task_is_a_cancelled_run(recorder: Recorder, ingest: Ingest) -> None:
    async def work() -> None:
        async with recorder.record_run(run_key="r1") as run:
            assert isinstance(run, AsyncRun)
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(recorder.flush, 10)
    assert ingest.types("r1") == ["run.started", "run.cancelled"]


def test_a_run_that_heeds_its_cancel_is_cancelled(recorder: Recorder, ingest: Ingest) -> None:
    def work() -> None:
        with recorder.record_run(run_key="r1") as run:
            run.deliver({"command_id": 1, "type": "cancel"})
            run.check()

    with pytest.raises(RunCancelled):
        work()
    assert recorder.flush(10)
    assert ingest.types("r1") == ["run.started", "command.acknowledged", "run.cancelled"]


def test_a_run_inside_another_is_its_child(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run(run_key="p"), recorder.record_run(run_key="c"):
        pass
    with recorder.record_run(run_key="alone"):
        pass
    assert recorder.flush(10)
    assert [ingest.of(key)[0]["data"].get("parent_run_key") for key in ("p", "c", "alone")] == [None, "p", None]


@pytest.mark.parametrize("given", ["", "ä", "a b", "x" * 300, "a\n", "\ud800", 7], ids=ascii)
def test_any_key_is_made_fit(given: object) -> None:
    key = run_key_of(given)
    assert 1 <= len(key) <= 128
    assert all("!" <= character <= "~" for character in key)


def test_a_fit_key_stays_and_unfit_ones_stay_apart() -> None:
    assert run_key_of("nightly/7") == "nightly/7"
    assert run_key_of("a b") == run_key_of("a b") != run_key_of("a\tb")
    assert run_key_of("x" * 300) != run_key_of("x" * 301)


def test_a_run_without_a_block_ends_when_it_is_finished(recorder: Recorder, ingest: Ingest) -> None:
    run = recorder.start_run("a", "t1", "go", run_key="r1")
    assert current_run() is None
    run.step("mark")
    run.finish({"ok": True})
    run.finish(error="late")
    assert recorder.flush(10)
    began, _, ended = ingest.of("r1")
    assert (began["agent"], began["thread"], began["data"]) == ("a", "t1", {"input": "go"})
    assert (ended["type"], ended["data"]) == ("run.completed", {"result": {"ok": True}})


@pytest.mark.parametrize(
    ("error", "ends"),
    [("broken", "run.failed"), (ValueError("no"), "run.failed"), (RunCancelled("no"), "run.cancelled")],
    ids=["text", "exception", "cancel"],
)
def test_a_run_without_a_block_may_end_by_an_error(recorder: Recorder, ingest: Ingest, error, ends: str) -> None:
    recorder.start_run(run_key="r1").finish(error=error)
    assert recorder.flush(10)
    assert ingest.types("r1") == ["run.started", ends]


def test_a_parent_is_a_run_or_its_key_or_else_the_current_run(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run(run_key="outer", thread="t9"):
        sibling = recorder.start_run(run_key="sibling")
        recorder.start_run(run_key="inner", parent=sibling)
    recorder.start_run(run_key="named", parent="outer")
    assert recorder.flush(10)
    parents = {key: ingest.of(key)[0]["data"].get("parent_run_key") for key in ingest.run_keys()}
    assert parents == {"outer": None, "sibling": "outer", "inner": "sibling", "named": "outer"}
    assert ingest.of("inner")[0]["thread"] == "t9"


def test_a_run_that_is_left_in_another_thread_is_nobodys_parent(recorder: Recorder, ingest: Ingest) -> None:
    def leak() -> None:
        for name in ("one", "two", "three"):
            block = recorder.record_run(run_key=name, thread=f"of-{name}")
            block.__enter__()
            other = threading.Thread(target=block.__exit__, args=(None, None, None))
            other.start()
            other.join()
            assert current_run() is None
        with recorder.record_run(run_key="stranger"):
            pass

    contextvars.Context().run(leak)
    assert recorder.flush(10)
    for name in ("two", "three", "stranger"):
        assert "parent_run_key" not in ingest.of(name)[0]["data"]
    assert "thread" not in ingest.of("stranger")[0]


def test_a_run_stays_current_when_what_it_was_entered_in_is_left(recorder: Recorder) -> None:
    outer, inner = recorder.record_run(run_key="outer"), recorder.record_run(run_key="inner")
    outer.__enter__()
    run = inner.__enter__()
    outer.__exit__(None, None, None)
    assert current_run() is run
    inner.__exit__(None, None, None)
    assert current_run() is None


async def test_a_run_that_is_left_in_another_task_is_current_no_more(recorder: Recorder) -> None:
    block = recorder.record_run(run_key="r1")
    await block.__aenter__()
    await asyncio.create_task(block.__aexit__(None, None, None))
    assert current_run() is None
