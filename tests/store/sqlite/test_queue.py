"""Claiming in SQLite: by an index, at a cost that does not grow with the runs that a worker may not have."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import apsw
import msgspec
import pytest

from tests.store.plans import plans_of
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import shard_key
from towerlog.store.sqlite.queue import lanes_claimable
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes


def lane(number: int, labels: Mapping[str, str] | None = None, agent: str = "a", **fields: object) -> Lane:
    """A queued lane whose place is its number."""
    state = fields.pop("state", QueueState.QUEUED)
    return Lane(shard_key(1, number), 1, state, agent, 5, dict(labels or {}), number, **fields)  # type: ignore[arg-type]


def queue(db: apsw.Connection, *lanes: Lane) -> None:
    """Puts lanes into the store."""
    write_changes(db, Changes(lanes={one.run: one for one in lanes}))


def steps_of(db: apsw.Connection, question: Callable[[], object]) -> int:
    """How many instructions of SQLite's machine a question takes, by the thousand's thousandth part."""
    count = 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    db.set_progress_handler(tick, 10)
    try:
        question()
    finally:
        db.set_progress_handler(None)
    return count * 10


@pytest.mark.parametrize("agents", [None, ["a", "b"]])
def test_every_question_of_a_claim_goes_by_an_index_and_sorts_no_queue(
    db: apsw.Connection, org: int, agents: list[str] | None
) -> None:
    queue(db, lane(1, {"x": "1"}), lane(2, {"y": "1"}), lane(3, {"x": "1", "y": "1"}))
    plans = plans_of(db, lambda: lanes_claimable(db, 1, agents, {"y": "2", "x": "1"}, 9, 2))
    index = "lane_queued (org=? AND label_set" if agents is None else "lane_queued_for (org=? AND agent=? AND label_set"
    for sql, steps in plans.items():
        wanted = "lane_held (expires_at<?)" if "'held'" in sql else index
        assert wanted in steps[0], (sql, steps)
        assert "'held'" in sql or not any("TEMP B-TREE" in step for step in steps), (sql, steps)


def test_runs_that_do_not_fit_cost_a_claim_nothing_however_many_they_are(db: apsw.Connection, org: int) -> None:
    others = [lane(n, {"tenant": "other"}) for n in range(1, 5001)]
    others += [lane(n, {"tenant": f"t{n}"}) for n in range(5001, 6001)]
    others += [lane(n, {"tenant": f"t{n}", "gpu": "yes"}) for n in range(6001, 8001)]
    others += [lane(n, agent="nobody") for n in range(8001, 9001)]
    queue(db, *others[:10], wanted := lane(90_000, {"tenant": "mine", "gpu": "yes"}))
    mine = {"tenant": "mine", "gpu": "yes", "disk": "yes"}
    found: list[Lane] = []

    def claim() -> None:
        found.extend(lanes_claimable(db, 1, ["a"], mine, 9, 2))

    before = steps_of(db, claim)
    queue(db, *others)
    after = steps_of(db, claim)
    assert found == [wanted, wanted]
    assert after < 2 * before + 200, "the claim has looked at runs that are not for this worker"
    assert lanes_claimable(db, 1, ["a"], {"tenant": "another"}, 9, 1) == []


def test_several_lanes_are_the_oldest_of_all_sets_together(db: apsw.Connection, org: int) -> None:
    one, two, three = lane(1, {"x": "1"}), lane(2), lane(3, {"x": "1"})
    queue(db, one, two, three)
    for limit in range(1, 5):
        assert lanes_claimable(db, 1, None, {"x": "1"}, 9, limit) == [one, two, three][:limit]


def test_only_what_ran_out_and_fits_is_handed_out_of_held_ones(db: apsw.Connection, org: int) -> None:
    held = {"state": QueueState.HELD, "expires_at": 10}
    queue(
        db, lane(1, {"x": "1"}, **held), lane(2, agent="b", **held), lane(3, **held), lane(4, {}, state=QueueState.DONE)
    )
    assert lanes_claimable(db, 1, None, {}, 9, 9) == []
    assert lanes_claimable(db, 1, ["a"], {}, 10, 9) == [lane(3, **held)]
    assert lanes_claimable(db, 1, ["a"], {"x": "1"}, 10, 1) == [lane(1, {"x": "1"}, **held)]


def may_take(one: Lane, agents: list[str] | None, labels: Mapping[str, str], now_ms: int) -> bool:
    """The plain definition of what is claimable."""
    is_free = one.state is QueueState.QUEUED or (one.state is QueueState.HELD and (one.expires_at or 0) <= now_ms)
    fits = all(labels.get(name) == value for name, value in one.labels.items())
    return is_free and fits and (agents is None or one.agent in agents)


@pytest.mark.parametrize("seed", range(12))
def test_the_walk_finds_what_the_definition_says(db: apsw.Connection, org: int, seed: int) -> None:
    """Random queues, workers and groups: queued ones before those that ran out, the oldest place first."""
    chance = random.Random(seed)
    names, values, agents = "abcdef"[: chance.randint(1, 6)], "123"[: chance.randint(1, 3)], "xyz"

    def some_labels(most: int) -> dict[str, str]:
        picked = chance.sample(names, chance.randint(0, min(most, len(names))))
        return {name: chance.choice(values) for name in picked}

    places = chance.sample(range(1000), 150)
    lanes = []
    for number, place in enumerate(places, 1):
        state = chance.choice([QueueState.QUEUED] * 5 + [QueueState.HELD, QueueState.BLOCKED, QueueState.DONE])
        fields = {"state": state, "expires_at": chance.choice([5, 50]) if state is QueueState.HELD else None}
        made = lane(number, some_labels(3), chance.choice(agents), **fields)
        lanes.append(msgspec.structs.replace(made, queue_position=place))
    queue(db, *lanes)
    for _ in range(120):
        served = chance.choice([None, chance.sample(agents, chance.randint(0, 3))])
        labels, limit = some_labels(6), chance.choice([1, 5, 120])
        fitting = [one for one in lanes if may_take(one, served, labels, 10)]
        fitting.sort(key=lambda one: (one.state is not QueueState.QUEUED, one.queue_position))
        assert lanes_claimable(db, 1, served, labels, 10, limit) == fitting[:limit]
