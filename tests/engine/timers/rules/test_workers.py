"""Workers that ask for work: remembered with a share for each key and organisation, looked up by organisation."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeClock
from tests.support.rig import Rig
from towerlog.ambient import ServingTime
from towerlog.engine.timers.rules import workers as subject
from towerlog.engine.timers.rules.workers import Workers
from towerlog.model.command import CreateRun
from towerlog.model.lane import ASKED_LATELY_MS, Lane

MINE, THEIRS = 1, 2


@pytest.fixture
def serving() -> ServingTime:
    return ServingTime(FakeClock())


def seen(workers: Workers, org: int, now_ms: int) -> list[str]:
    return [who for who, _, _ in workers.lately(org, now_ms)]


async def lane_of(rig: Rig) -> Lane:
    await rig.do(CreateRun("t", agent="writer"))
    [lane] = await rig.store.lanes(rig.org, 10, None)
    return lane


def test_names_without_end_of_one_organisation_cost_no_other_its_workers(serving: ServingTime) -> None:
    workers = Workers(serving)
    workers.note(MINE, None, (), "steady", "key")
    for number in range(subject.MAX_KNOWN + 10):
        workers.note(THEIRS, None, (("n", str(number)),), f"w{number}", f"key{number % 40}")
    now_ms = serving.now().serving_ms
    assert seen(workers, MINE, now_ms) == ["steady"]
    assert len(seen(workers, THEIRS, now_ms)) == subject.MAX_KNOWN_OF_ORGANISATION


def test_names_without_end_of_one_key_cost_no_other_key_its_workers(serving: ServingTime) -> None:
    workers = Workers(serving)
    workers.note(MINE, None, (), "steady", "key")
    for number in range(subject.MAX_KNOWN):
        workers.note(MINE, None, (), f"w{number}", "other")
    found = seen(workers, MINE, serving.now().serving_ms)
    assert found[0] == "steady"
    assert found[1:] == [f"w{number}" for number in range(subject.MAX_KNOWN)][-subject.MAX_KNOWN_OF_KEY :]


def test_many_organisations_share_what_there_is_and_who_has_least_keeps_it(serving: ServingTime) -> None:
    workers = Workers(serving)
    workers.note(MINE, None, (), "steady", "key")
    many = range(100, 100 + 2 * subject.MAX_KNOWN // subject.MAX_KNOWN_OF_KEY)
    for number in range(subject.MAX_KNOWN_OF_KEY):
        for org in many:
            workers.note(org, None, (), f"w{number}", "key")
    now_ms = serving.now().serving_ms
    assert seen(workers, MINE, now_ms) == ["steady"]
    assert sum(len(seen(workers, org, now_ms)) for org in [MINE, *many]) == subject.MAX_KNOWN


async def test_a_lane_stays_served_whatever_others_ask_for(rig: Rig) -> None:
    lane, serving = await lane_of(rig), ServingTime(rig.clock)
    workers = Workers(serving)
    rig.clock.advance(2 * ASKED_LATELY_MS)
    now_ms = serving.now().serving_ms
    assert not workers.serves(lane, now_ms)
    workers.note(rig.org, ("writer",), (), "steady", "key")
    for number in range(subject.MAX_KNOWN + 1):
        workers.note(rig.org + 1, None, (("n", str(number)),), f"w{number}", "key")
    assert workers.serves(lane, now_ms)
    assert not workers.serves(lane, now_ms + ASKED_LATELY_MS + 1)


async def test_a_worker_that_says_much_takes_more_places(rig: Rig) -> None:
    lane, serving = await lane_of(rig), ServingTime(rig.clock)
    workers = Workers(serving)
    rig.clock.advance(2 * ASKED_LATELY_MS)
    workers.note(rig.org, ("writer",), (), "steady", "key")
    long = tuple(f"{number:03}" + "x" * 197 for number in range(200))
    for number in range(subject.MAX_KNOWN_OF_KEY * subject.PLACE_CHARS // (200 * 200)):
        workers.note(rig.org, long, (("n", str(number)),), f"w{number}", "key")
    assert workers.serves(lane, serving.now().serving_ms)
    workers.note(rig.org, long, (), "one more", "key")
    assert not workers.serves(lane, serving.now().serving_ms)


def test_what_is_looked_up_of_an_organisation_walks_past_no_other(serving: ServingTime) -> None:
    workers = Workers(serving)
    for number in range(subject.MAX_KNOWN_OF_KEY):
        workers.note(THEIRS, None, (), f"w{number}", "key")
    assert list(workers._seen.of(MINE)) == list(workers._kinds.of(MINE)) == []
