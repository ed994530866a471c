"""Claiming in SQLite: by an index, at a cost that does not grow with the runs that a worker may not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apsw
import pytest

from tests.store.plans import plans_of
from towerlog.model.identity import shard_key
from towerlog.model.lease import Lane, LaneState
from towerlog.store.sqlite_queue import lane_claimable
from towerlog.store.sqlite_writes import write_changes
from towerlog.store.values import Changes


def lane(number: int, labels: Mapping[str, str] | None = None, agent: str = "a", **fields: object) -> Lane:
    """A queued lane whose place is its number."""
    state = fields.pop("state", LaneState.QUEUED)
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
    plans = plans_of(db, lambda: lane_claimable(db, 1, agents, {"y": "2", "x": "1"}, 9, {shard_key(1, 1)}))
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
    found: list[Lane | None] = []

    def claim() -> None:
        found.append(lane_claimable(db, 1, ["a"], mine, 9, ()))

    before = steps_of(db, claim)
    queue(db, *others)
    after = steps_of(db, claim)
    assert found == [wanted, wanted]
    assert after < 2 * before + 200, "the claim has looked at runs that are not for this worker"
    assert lane_claimable(db, 1, ["a"], {"tenant": "another"}, 9, ()) is None


def test_what_is_taken_is_passed_over_to_the_next_of_its_set(db: apsw.Connection, org: int) -> None:
    one, two, three = lane(1, {"x": "1"}), lane(2), lane(3, {"x": "1"})
    queue(db, one, two, three)
    taken: set[int] = set()
    order = []
    while (found := lane_claimable(db, 1, None, {"x": "1"}, 9, taken)) is not None:
        order.append(found)
        taken.add(found.run)
    assert order == [one, two, three]


def test_only_what_ran_out_and_fits_is_handed_out_of_held_ones(db: apsw.Connection, org: int) -> None:
    held = {"state": LaneState.HELD, "expires_at": 10}
    queue(
        db, lane(1, {"x": "1"}, **held), lane(2, agent="b", **held), lane(3, **held), lane(4, {}, state=LaneState.DONE)
    )
    assert lane_claimable(db, 1, None, {}, 9, ()) is None
    assert lane_claimable(db, 1, ["a"], {}, 10, ()) == lane(3, **held)
    assert lane_claimable(db, 1, ["a"], {"x": "1"}, 10, ()) == lane(1, {"x": "1"}, **held)
    assert lane_claimable(db, 1, ["a"], {}, 10, {lane(3).run}) is None
