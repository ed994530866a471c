"""Many questions at once: a program goes on with the answers for which a server has room, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.model.command import MAX_INPUT_BYTES
from towerlog.sdk.integrations.answer_pages import Groups, answers_to, answers_to_async, page_of
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.held_answers import MAX_HELD_BYTES, MAX_KEPT

Waits = Callable[[Groups, float | None], list[tuple[int, list[Any]]]]
LONG = "x" * (MAX_HELD_BYTES * 2 // 3)


def in_a_loop(groups: Groups, timeout: float | None) -> list[tuple[int, list[Any]]]:
    return asyncio.run(answers_to_async(groups, timeout))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("pages") / "data", NO_LIMITS)
    yield made.start()
    made.close()


@pytest.fixture(autouse=True)
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.sdk.record.delivery.POLL_EVERY_S", 0.2)


class Asked:
    """A run that has asked so many groups of questions, and people who answer them."""

    def __init__(self, server: Server, recorder: Recorder, sizes: list[int]) -> None:
        self.client: httpx.Client = server.client()
        self.run = recorder.start_run("asker")
        self.groups = [
            [OpenQuestion(self.run, f"{place}.{index}", None, (str(place), index), holds=True) for index in range(size)]
            for place, size in enumerate(sizes)
        ]
        self.open = wait_until(lambda: self._open(sum(sizes)), "the questions")

    def _open(self, count: int) -> dict[str, int] | None:
        if self.run.run_id is None:
            return None
        found = {one["question"]: one["question_id"] for one in self._row()["questions"]}
        return found if len(found) == count else None

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = self.client.get(f"/api/v1/runs/{self.run.run_id}").json()
        return row

    def answer(self, text: str, content: str = "") -> httpx.Response:
        body = {"question_id": self.open[text], "content": content or f"to {text}"}
        return self.client.post(f"/v1/runs/{self.run.run_id}/input", json=body)

    def answer_all(self, *texts: str, content: str = "") -> None:
        """Each until there is room for it."""
        for text in texts:
            wait_until(lambda text=text: self.answer(text, content).is_success, f"the answer to {text}")

    def taken(self) -> int:
        log = self.client.get(f"/api/v1/runs/{self.run.run_id}/events", params={"limit": 1000}).json()["data"]
        return sum(one["type"] == "command.acknowledged" for one in log)


@pytest.fixture
def asked(server: Server, tmp_path: Path) -> Iterator[Callable[[list[int]], Asked]]:
    recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool", longest_pause_seconds=0.5)
    yield lambda sizes: Asked(server, recorder, sizes)
    recorder.close(20)


def test_a_page_has_whole_groups_and_no_more_than_a_server_keeps_answers_of() -> None:
    assert [page_of([1] * count) for count in (1, MAX_KEPT, MAX_KEPT + 1)] == [1, MAX_KEPT, MAX_KEPT]
    assert (page_of([20, 12, 1]), page_of([20, 13, 1]), page_of([MAX_KEPT + 1, 1])) == (2, 1, 1)


@pytest.mark.parametrize("waits", [answers_to, in_a_loop])
def test_all_that_are_asked_are_there_in_their_order(asked: Callable[[list[int]], Asked], waits: Waits) -> None:
    some = asked([2, 1])
    some.answer_all("1.0", "0.1", "0.0")
    assert waits(some.groups, 20) == [(0, ["to 0.0", "to 0.1"]), (1, ["to 1.0"])]


@pytest.mark.parametrize("waits", [answers_to, in_a_loop])
def test_without_more_room_it_goes_on_with_what_is_answered_and_nothing_is_acknowledged_before(
    asked: Callable[[list[int]], Asked], waits: Waits
) -> None:
    some = asked([1, 2, 1])
    some.answer_all("0.0", "1.1", "2.0", content=LONG)
    assert not some.answer("1.0", LONG).is_success, "the server has no room for it"
    assert waits(some.groups, 20)[0] == (0, [LONG]), "of the second group an answer is missing"
    assert not any(one.let_answer_go() for group in some.groups for one in group), "another process would get them"
    assert some.taken() == 0
    for one in (some.groups[0][0], some.groups[2][0]):
        one.take()
    some.answer_all("1.0")
    assert waits(some.groups[1:2], 20) == [(0, ["to 1.0", LONG])]


@pytest.mark.parametrize("waits", [answers_to, in_a_loop])
@pytest.mark.parametrize("character", ["x", "\n", "\x01"])
def test_with_what_is_held_the_longest_answer_has_room(
    asked: Callable[[list[int]], Asked], waits: Waits, character: str
) -> None:
    """The first two leave less than that, and are not yet so much that the program goes on with them."""
    some = asked([1, 1, 1])
    some.answer_all("0.0", "1.0", content="x" * (MAX_HELD_BYTES // 2 - 500))
    longest = "a" + character * (MAX_INPUT_BYTES - 1)
    assert some.answer("2.0", longest).is_success
    found = dict(waits(some.groups, 20))
    assert found.get(2, [longest]) == [longest]


@pytest.mark.parametrize("waits", [answers_to, in_a_loop])
def test_what_is_one_thing_to_the_program_gets_all_its_answers(
    asked: Callable[[list[int]], Asked], waits: Waits
) -> None:
    """It can go on with no part of them: the oldest are acknowledged, so that the others can be given."""
    some = asked([MAX_KEPT + 8])
    texts = [f"0.{index}" for index in range(MAX_KEPT + 8)]
    people = threading.Thread(target=some.answer_all, args=texts)
    people.start()
    assert waits(some.groups, 60) == [(0, [f"to {text}" for text in texts])]
    people.join()
    assert any(one.let_answer_go() for one in some.groups[0])


@pytest.mark.parametrize("waits", [answers_to, in_a_loop])
def test_who_waits_in_vain_gets_a_time_out_and_the_questions_stay(
    asked: Callable[[list[int]], Asked], waits: Waits
) -> None:
    some = asked([1, 1])
    some.answer_all("0.0")
    with pytest.raises(TimeoutError, match="no answer in time"):
        waits(some.groups, 0.2)
    assert some.answer("1.0").is_success
    assert len(waits(some.groups, 20)) == 2
