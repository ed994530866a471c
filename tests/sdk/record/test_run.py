"""A run: what its methods tell, how it ends, how it waits, and where it is the current one."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from typing import Any

import pytest

from tests.sdk.support import sinks
from tests.sdk.support.sinks import ListSink
from tests.support.wait import wait_until, wait_until_async
from towerlog.sdk.record import run as run_module
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.current import Active, activated, carry, current_run
from towerlog.sdk.record.run_handles import AsyncRun, OpenQuestion, Run


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def run(sink: ListSink) -> Run:
    return Run(sink, "r1", "agent one")


def answer_to(sink: ListSink, content: str, number: int = 5) -> dict[str, Any]:
    """The command that answers the newest question."""
    [*_, key] = [data["question_key"] for data in sink.data if "question" in data]
    return {"command_id": number, "type": "input", "content": content, "question_key": key}


def test_every_event_names_the_agent(run: Run, sink: ListSink) -> None:
    run.message_delta("x")
    assert sink.events == [{"type": "message.delta", "data": {"content": "x"}, "agent": "agent one"}]


def test_a_model_call_says_what_is_known_and_nothing_else(run: Run, sink: ListSink) -> None:
    run.model_call("m", input_tokens=0, cost_usd=Decimal("0.01"), temperature=1)
    assert sink.data == [{"temperature": 1, "model": "m", "input_tokens": 0, "cost_usd": 0.01}]


def test_checkpoints_are_numbered_unless_they_say_their_number(run: Run, sink: ListSink) -> None:
    run.checkpoint([])
    run.checkpoint([], step_index=7, state={"a": 1})
    run.checkpoint([])
    assert [data["step_index"] for data in sink.data] == [1, 7, 8]


def test_a_resumed_run_numbers_its_checkpoints_after_the_last(sink: ListSink) -> None:
    Run(sink, resume={"step_index": 4}).checkpoint([])
    assert sink.data[0]["step_index"] == 5


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ValueError("a\nb"), ("run.failed", {"error": "ValueError: a b"})),
        (asyncio.CancelledError(), ("run.cancelled", {"reason": "CancelledError"})),
        (RunCancelled("cancelled"), ("run.cancelled", {"reason": "RunCancelled: cancelled"})),
        (KeyboardInterrupt(), ("run.cancelled", {"reason": "KeyboardInterrupt"})),
        (SystemExit(0), ("run.completed", {})),
        (SystemExit(3), ("run.failed", {"error": "SystemExit: 3"})),
    ],
    ids=["error", "task cancelled", "run cancelled", "interrupt", "quiet exit", "exit code"],
)
def test_how_an_exception_ends_a_run(run: Run, sink: ListSink, error: BaseException, ends: object) -> None:
    run.end_with(error)
    assert (sink.types[0], sink.data[0]) == ends


@pytest.mark.parametrize("content", ["no longer needed", None])
def test_a_cancelled_run_ends_with_the_reason_of_whoever_cancelled_it(run: Run, sink: ListSink, content) -> None:
    run.deliver({"command_id": 1, "type": "cancel", "content": content})
    run.end_with(asyncio.CancelledError())
    assert (sink.types[-1], sink.data[-1]) == ("run.cancelled", {"reason": content} if content else {})


def test_the_first_end_is_the_end(run: Run, sink: ListSink) -> None:
    run.complete({"ok": 1})
    run.fail("late")
    assert (sink.types, sink.data) == (["run.completed"], [{"result": {"ok": 1}}])


def test_ask_blocks_until_the_answer_and_acknowledges_it(run: Run, sink: ListSink) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run.ask, "Publish?")
        wait_until(lambda: sink.waiting == 1, "the question")
        run.deliver(answer_to(sink, "yes"))
        assert answer.result(60) == "yes"
    assert sink.types == ["run.waiting_for_input", "command.acknowledged"]
    assert sink.data[1] == {"command_id": 5, "type": "input"}
    assert sink.waiting == 0


def test_ask_gives_up_in_time_and_withdraws_its_question(run: Run, sink: ListSink) -> None:
    with pytest.raises(TimeoutError):
        run.ask("Publish?", timeout=0.01)
    assert sink.waiting == 0
    assert sink.types == ["run.waiting_for_input", "run.question_withdrawn"]
    asked, withdrawn = sink.data
    assert withdrawn == {"question_key": asked["question_key"], "reason": "no answer in time"}


def test_a_late_answer_reaches_no_other_question(run: Run, sink: ListSink) -> None:
    with pytest.raises(TimeoutError):
        run.ask("Ten dollars?", timeout=0.01)
    late = answer_to(sink, "yes")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run.ask, "Ten thousand dollars?")
        wait_until(lambda: sink.waiting == 1, "the question")
        run.deliver(late)
        run.deliver(answer_to(sink, "no", number=6))
        assert answer.result(60) == "no"


def test_an_answer_that_was_before_the_withdrawal_is_returned() -> None:
    """Once it is acknowledged nobody will send it again."""
    sink = ListSink({"command_id": 5, "type": "input", "content": "yes"})
    assert Run(sink, "r1").ask("Publish?", timeout=0.01) == "yes"
    assert sink.types == ["run.waiting_for_input", "run.question_withdrawn", "command.acknowledged"]
    assert sink.data[-1] == {"command_id": 5, "type": "input"}


async def test_an_async_ask_returns_an_answer_that_was_before_its_withdrawal() -> None:
    sink = ListSink({"command_id": 5, "type": "input", "content": "yes"})
    assert await AsyncRun(sink, "r1").ask("Publish?", timeout=0.01) == "yes"
    assert sink.types[-1] == "command.acknowledged"


async def test_an_async_ask_gives_up_in_time_and_withdraws_its_question(sink: ListSink) -> None:
    with pytest.raises(TimeoutError):
        await AsyncRun(sink, "r1").ask("Publish?", timeout=0.01)
    assert sink.types == ["run.waiting_for_input", "run.question_withdrawn"]


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_where_no_server_says_which_was_first_a_late_answer_is_told_as_not_taken(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(run_module, "SETTLE_S", 0.01)
    sink = ListSink()
    monkeypatch.setattr(sinks, "settlement_of", lambda line, seq: None)
    run: Run | AsyncRun = Run(sink, "r1") if kind == "blocking" else AsyncRun(sink, "r1")
    with pytest.raises(TimeoutError):
        asyncio.run(run.ask("Publish?", timeout=0.01)) if isinstance(run, AsyncRun) else run.ask("Publish?", 0.01)
    run.deliver(answer_to(sink, "yes"))
    assert (sink.types[-1], sink.data[-1]) == (
        "command.acknowledged",
        {"command_id": 5, "type": "input", "taken": False},
    )
    assert sink.types.count("run.question_withdrawn") == 1


async def test_two_questions_at_once_get_their_own_answers(sink: ListSink) -> None:
    run = AsyncRun(sink, "r1")
    answers = asyncio.gather(run.ask("May I read?"), run.ask("May I pay?"))
    await wait_until_async(lambda: sink.waiting == 2, "both questions")
    keys = [data["question_key"] for data in sink.data]
    for number, (key, content) in enumerate([(keys[1], "no"), (keys[0], "yes")], 1):
        run.deliver({"command_id": number, "type": "input", "content": content, "question_key": key})
    assert await answers == ["yes", "no"]


def test_what_people_write_without_being_asked_is_a_message(run: Run, sink: ListSink) -> None:
    assert run.messages() == []
    run.deliver({"command_id": 1, "type": "message", "content": "by the way"})
    run.deliver({"command_id": 1, "type": "message", "content": "by the way"})
    run.deliver({"command_id": 2, "type": "message", "content": "hurry"})
    assert sink.types == [], "it is acknowledged when it is read"
    assert run.messages() == ["by the way", "hurry"]
    assert [data["command_id"] for data in sink.data] == [1, 2]
    assert run.messages() == []


def test_a_cancel_ends_the_waiting_and_stays(run: Run, sink: ListSink) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run.ask, "Publish?")
        wait_until(lambda: sink.waiting == 1, "the question")
        run.deliver({"command_id": 5, "type": "cancel"})
        with pytest.raises(RunCancelled):
            answer.result(60)
    assert run.cancelled
    with pytest.raises(RunCancelled):
        run.check()
    with pytest.raises(RunCancelled):
        run.ask("and now?")
    assert sink.types == ["run.waiting_for_input", "command.acknowledged"]


def test_a_paused_run_waits_at_its_pause_point(run: Run, sink: ListSink) -> None:
    run.pause_point()
    run.deliver({"command_id": 1, "type": "pause"})
    with ThreadPoolExecutor(1) as pool:
        passed = pool.submit(run.pause_point)
        wait_until(lambda: sink.waiting == 1, "the pause")
        assert not passed.done()
        run.deliver({"command_id": 2, "type": "resume"})
        passed.result(60)
    assert sorted(sink.types) == sorted(["command.acknowledged", "run.paused", "command.acknowledged", "run.resumed"])
    assert sink.types.index("run.paused") < sink.types.index("run.resumed")


async def test_an_async_run_awaits_its_answer_from_another_thread(sink: ListSink) -> None:
    run = AsyncRun(sink, "r1")
    answer = asyncio.create_task(run.ask("Publish?"))
    await wait_until_async(lambda: sink.waiting == 1, "the question")
    threading.Thread(target=run.deliver, args=(answer_to(sink, "yes"),)).start()
    assert await answer == "yes"


@pytest.mark.parametrize("handed_back", [True, False])
async def test_an_async_ask_that_is_cancelled_withdraws_unless_the_run_goes_to_another_worker(
    sink: ListSink, handed_back: bool
) -> None:
    run = AsyncRun(sink, "r1")
    answer = asyncio.create_task(run.ask("Publish?"))
    await wait_until_async(lambda: sink.waiting == 1, "the question")
    if handed_back:
        run.hand_back()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert ("run.question_withdrawn" in sink.types) is not handed_back


async def test_a_paused_async_run_goes_on_when_it_may(sink: ListSink) -> None:
    run = AsyncRun(sink, "r1")
    run.deliver({"command_id": 1, "type": "pause"})
    passed = asyncio.create_task(run.pause_point())
    await wait_until_async(lambda: sink.waiting == 1, "the pause")
    run.deliver({"command_id": 2, "type": "resume"})
    await passed
    assert sink.types[-1] == "run.resumed"


async def test_each_task_has_its_own_current_run(sink: ListSink) -> None:
    async def work(run: Run) -> Any:
        with activated(run):
            await asyncio.sleep(0)
            return current_run(), await asyncio.create_task(inner())

    async def inner() -> Any:
        return current_run()

    runs = [Run(sink, f"r{number}") for number in range(20)]
    found = await asyncio.gather(*(work(run) for run in runs))
    assert found == [(run, run) for run in runs]
    assert current_run() is None


def test_a_thread_of_a_pool_is_part_of_the_run_only_when_carried(run: Run) -> None:
    with ThreadPoolExecutor(4) as pool, activated(run):
        assert pool.submit(current_run).result() is None
        carried = carry(current_run)
        assert [each.result() for each in [pool.submit(carried) for _ in range(50)]] == [run] * 50


def test_a_question_may_be_answered_elsewhere_and_later(run: Run, sink: ListSink) -> None:
    question = OpenQuestion(run, "Publish?")
    with pytest.raises(TimeoutError):
        question.wait(0.01)
    assert sink.types == ["run.waiting_for_input"], "it is still open"
    run.deliver(answer_to(sink, "yes"))
    assert question.wait() == "yes"
    question.withdraw("too late")
    assert sink.types == ["run.waiting_for_input", "command.acknowledged"]


async def test_a_question_that_is_withdrawn_leaves_nothing_open(run: Run, sink: ListSink) -> None:
    question = OpenQuestion(run, "Publish?")
    with pytest.raises(TimeoutError):
        await question.wait_async(0.01)
    question.withdraw("decided")
    assert (sink.types[-1], sink.data[-1]["reason"]) == ("run.question_withdrawn", "decided")


def test_a_run_that_was_entered_is_current_until_it_ends_or_is_left() -> None:
    outer, inner = Run(ListSink(), "outer"), Run(ListSink(), "inner")
    with activated(outer):
        Active(inner)
        assert current_run() is inner
        inner.finish()
        assert current_run() is outer
        entered = Active(Run(ListSink(), "another"))
        copy_context().run(entered.leave)
        assert current_run() is outer
    assert current_run() is None


def test_nothing_is_kept_of_threads_that_have_told_a_step(run: Run, sink: ListSink) -> None:
    def told(at_once: threading.Barrier) -> None:
        run.step("work")
        at_once.wait(60)  # all are there together, so that no two have one name

    at_once = threading.Barrier(50)
    threads = [threading.Thread(target=told, args=(at_once,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(sink.events) == 50
    assert len(run._marks) == 0
