"""The queue to the writer: order within an organisation, turns among them by work, bounds of a group and of a share."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import msgspec
import pytest

from tests.support.factories import draft, facts_of
from towerlog.engine.commit import queue as queue_module
from towerlog.engine.commit.group_size import MAX_GROUP_COMMANDS, MAX_GROUP_WORK
from towerlog.engine.commit.queue import (
    MAX_GROUP_BYTES,
    MESSAGES_OF_WORK,
    WORK_OF_CHANGE,
    CommandQueue,
    cut,
    work_of,
)
from towerlog.engine.commit.submission import Submission, Waiter, measured
from towerlog.engine.commit.turn import PlanFull
from towerlog.errors import Overloaded
from towerlog.model.command import Append, CreateRun, Finish, GiveInput, Report, Write
from towerlog.model.event import AgentHeartbeat, EventType, History, Item, Refusal, RunByForeignId
from towerlog.model.outcome import Stored
from towerlog.model.persona import CreatePersona
from towerlog.model.principal import Principal

HEAVY = MAX_GROUP_WORK * 2


def command(org: int, work: int = 1, size: int = 0, waiter: Any = None) -> Submission:
    """A command of an organisation that is so much work."""
    who = Principal(org, f"o{org}", "u", "k", frozenset())
    return Submission(who, CreateRun("t"), "steps", waiter, None, work, size)


def filled(*submissions: Submission) -> CommandQueue:
    queue = CommandQueue(10_000)
    for one in submissions:
        queue.add(one)
    return queue


def orgs_of(group: list[Submission]) -> list[int]:
    return [one.principal.org for one in group]


def test_commands_of_one_organisation_keep_their_order() -> None:
    sent = [command(1) for _ in range(MAX_GROUP_COMMANDS + 5)]
    queue = filled(*sent)
    assert queue.take() == sent[:MAX_GROUP_COMMANDS]
    assert queue.count == 5
    assert queue.take() == sent[MAX_GROUP_COMMANDS:]
    assert queue.count == 0


def test_a_group_ends_with_the_work_or_the_bytes_that_it_may_have() -> None:
    queue = filled(*(command(1, MAX_GROUP_WORK // 2) for _ in range(3)))
    assert [len(queue.take()) for _ in range(2)] == [2, 1]
    queue = filled(*(command(1, size=MAX_GROUP_BYTES // 2) for _ in range(3)))
    assert [len(queue.take()) for _ in range(2)] == [2, 1]


def test_what_is_more_than_a_group_is_a_group_by_itself() -> None:
    queue = filled(command(1, HEAVY), command(1), command(1, HEAVY), command(1, size=MAX_GROUP_BYTES + 1))
    assert [len(queue.take()) for _ in range(4)] == [1, 1, 1, 1]


def test_a_small_command_waits_for_no_more_than_the_group_under_way() -> None:
    """However many heavy ones of another organisation are before it, and however often it comes back."""
    queue = filled(*(command(1, HEAVY) for _ in range(6)))
    taken = []
    for _ in range(5):
        taken += orgs_of(queue.take())
        queue.add(command(2))
        taken += orgs_of(queue.take())
    assert taken == [1, 2] * 5


def test_nobody_is_kept_waiting_by_one_who_always_comes_back() -> None:
    """By work, both have the same."""
    queue = filled(*(command(1, 100) for _ in range(200)))
    work = {1: 0, 2: 0}
    queue.add(command(2, HEAVY))
    for _ in range(20):
        for one in queue.take():
            work[one.principal.org] += one.work
            if one.principal.org == 2:
                queue.add(command(2, HEAVY))
    assert abs(work[1] - work[2]) <= HEAVY + MAX_GROUP_WORK


def test_a_pause_saves_nothing_up() -> None:
    queue = filled(*(command(1, 1000) for _ in range(50)))
    for _ in range(20):
        queue.take()
    for _ in range(50):
        queue.add(command(2, 1000))
    taken = [org for _ in range(20) for org in orgs_of(queue.take())]
    assert taken.count(1) == taken.count(2) == 10


def test_organisations_of_equal_work_go_one_after_the_other() -> None:
    queue = filled(*(command(org) for _ in range(3) for org in (3, 1, 2)))
    assert orgs_of(queue.take()) == [3, 1, 2] * 3


async def test_what_nobody_waits_for_takes_no_turn() -> None:
    gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    gone.cancel()
    queue = filled(command(1, HEAVY, waiter=gone), command(1), command(2))
    assert orgs_of(queue.take()) == [1, 2], "nor does what is large"
    assert queue.count == 0
    assert filled(command(1, waiter=gone)).take() == []


def test_one_organisation_leaves_room_in_the_queue_for_the_others() -> None:
    queue = CommandQueue(8)
    for _ in range(6):
        queue.check_room(1)
        queue.add(command(1))
    with pytest.raises(Overloaded, match=r"This organisation .* \(6\)") as refused:
        queue.check_room(1)
    assert refused.value.retry_after
    for _ in range(2):
        queue.check_room(2)
        queue.add(command(2))
    with pytest.raises(Overloaded):
        queue.check_room(1)
    queue.take()
    queue.check_room(1)
    tiny = CommandQueue(1)
    tiny.check_room(1)


def test_who_was_there_is_forgotten_once_it_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_REMEMBERED", 10)
    queue = filled(*(command(0, HEAVY) for _ in range(600)))
    queue.take()
    for org in range(1, 500):
        queue.add(command(org, 10))
        assert orgs_of(queue.take() + queue.take()) == [org, 0]
    assert len(queue._ends) <= 11
    while queue.count:
        queue.take()
    assert not queue._ends


def test_work_is_told_by_what_moves() -> None:
    plain, start = draft(), draft(facts=facts_of(is_start=True))
    assert work_of(Append("steps", [plain, plain])) == 2
    assert work_of(Append("steps", [plain, start])) == 1 + WORK_OF_CHANGE
    assert work_of(Append("steps", [AgentHeartbeat("a"), Refusal("c", "m", "f")])) == 2
    long = msgspec.structs.replace(start, history=History([b"1"] * 80, [b"{}"] * 40))
    assert work_of(Append("checkpoints", [long])) == WORK_OF_CHANGE + 120 // MESSAGES_OF_WORK
    assert work_of(CreateRun("t")) == WORK_OF_CHANGE
    assert work_of(Report("r", "w", [plain])) == WORK_OF_CHANGE + 1
    assert work_of(Append("steps", [], polled=(RunByForeignId("a", "a"),) * 100)) == 100


def empty(org: int, size: int = 0) -> Submission:
    who = Principal(org, f"o{org}", "u", "k", frozenset())
    return Submission(who, Append("steps", []), "steps", cast(Waiter, None), None, 0, size)


def test_commands_without_an_event_do_not_go_before_all_others() -> None:
    queue = filled(*(empty(1) for _ in range(MAX_GROUP_COMMANDS * 3)))
    served = 0
    for _ in range(10):
        queue.add(command(2))
        group = queue.take()
        served += orgs_of(group).count(2)
        for _ in group:
            queue.add(empty(1))
    assert served == 10


def test_large_events_are_as_much_work_as_the_small_ones_that_they_keep_waiting() -> None:
    queue = filled(*(empty(1, MAX_GROUP_BYTES) for _ in range(12)))
    taken = []
    for _ in range(10):
        queue.add(command(2, MAX_GROUP_WORK // 2))
        taken += orgs_of(queue.take())
        queue.add(empty(1, MAX_GROUP_BYTES))
    assert taken.count(2) >= 5


LONG = 10_000
TEXT = b'"' + b"x" * (LONG - 2) + b'"'
STATE = draft(EventType.CHECKPOINT, history=History([TEXT], [TEXT, TEXT]))


@pytest.mark.parametrize(
    ("sent", "texts"),
    [
        (Append("steps", [draft(data=TEXT), STATE, Refusal("no", "no")]), 4),
        (Report("run", "w", [STATE]), 3),
        (Finish("run", "w", STATE), 3),
        (CreateRun("t", input=TEXT, metadata=TEXT), 2),
        (GiveInput("run", "x" * LONG), 1),
        (CreatePersona("p", "1", "a", "x" * LONG, TEXT), 2),
        (CreateRun("t"), 0),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Write) else str(one),
)
def test_all_that_is_long_of_a_command_is_measured(sent: Write, texts: int) -> None:
    """Bodies, and of a state its history and what is said beside each of its messages."""
    assert 0 <= measured(sent) - texts * LONG < 100


def test_what_was_taken_and_not_placed_comes_first_and_in_its_order() -> None:
    """Before what has come since of the same organisation, and in the turn that it had."""
    first, second, third = [command(1, work=MAX_GROUP_WORK) for _ in range(3)]
    queue = filled(first, second)
    assert queue.take() == [first]
    queue.put_back([first])
    queue.add(third)
    queue.add(command(2))
    assert queue.count == 4
    again, other, *taken = [queue.take() for _ in range(4)]
    assert (again, orgs_of(other), taken, queue.count) == ([first], [2], [[second], [third]], 0)
    queue.put_back([first, second])
    assert (queue.take(), queue.take(), queue.take()) == ([first], [second], [])


@pytest.mark.parametrize("seed", range(60))
def test_groups_that_are_cut_short_keep_nobody_waiting(seed: int) -> None:
    """Of each group only the first few are placed, and one organisation always has more on its way than that: a command
    of another one is placed with the second group after it has come, whenever that was."""
    rnd = random.Random(seed)
    senders, placed = rnd.randint(2, 40), rnd.randint(1, 4)
    comes_at, is_meanwhile, is_told_later = rnd.randint(3, 9), rnd.random() < 0.5, rnd.random() < 0.5
    queue = filled(*(command(1, rnd.randint(1, 8)) for _ in range(senders)))
    done: list[Submission] = []
    for turn in range(comes_at + 3):
        if turn == comes_at and not is_meanwhile:
            queue.add(command(2))
        told = len(done) if is_told_later else 0
        group = queue.take()
        if turn == comes_at and is_meanwhile:
            queue.add(command(2))
        for _ in range(told):
            queue.add(command(1, rnd.randint(1, 8)))
        done, left = group[:placed], group[placed:]
        if 2 in orgs_of(done):
            return
        queue.put_back(left)
        for _ in range(0 if is_told_later else len(done)):
            queue.add(command(1, rnd.randint(1, 8)))
    raise AssertionError("not placed with any of three groups")


def large(org: int, parts: int) -> Submission:
    """A command of so many parts."""
    who = Principal(org, f"o{org}", "u", "k", frozenset())
    items: list[Item] = [draft(data={"n": n}) for n in range(parts * MAX_GROUP_WORK)]
    return Submission(who, Append("otlp", items), "otlp", cast(Waiter, None), None, 0, 0)


def part_taken(queue: CommandQueue, one: Submission) -> None:
    """A group had room for a part of it; the rest waits again."""
    assert isinstance(one.command, Append)
    cut(one, cast(Append, PlanFull([Stored(1, 1, "r")] * MAX_GROUP_WORK).rest_of(one.command)))
    queue.put_back([one])


def test_small_commands_come_between_the_parts_of_large_ones_and_these_in_turns() -> None:
    first, second = large(1, 4), large(1, 4)
    queue = filled(first, second)
    taken = []
    for _ in range(6):
        small = command(1)
        queue.add(small)
        assert queue.take() == [small], "it waits for one part at most, of one of them"
        [one] = queue.take()
        taken.append(one)
        part_taken(queue, one)
    assert taken == [first, second] * 3


def test_large_commands_go_on_though_there_is_always_a_small_one() -> None:
    one = large(1, 3)
    queue = filled(one, *(command(1, MAX_GROUP_WORK) for _ in range(20)))
    taken = [queue.take() == [one] for _ in range(4)]
    assert taken == [False, True, False, False]


def test_each_part_of_a_large_command_counts_once_as_work_of_its_organisation() -> None:
    """Not all of it with each part: then its organisation would wait as if it had done all of it each time."""
    one = large(1, 4)
    queue = filled(one)
    taken: list[int] = []
    for _ in range(3):
        queue.add(command(2, MAX_GROUP_WORK))
        [found] = queue.take()
        taken.append(found.principal.org)
        if found is one:
            part_taken(queue, one)
    for _ in range(40):
        queue.add(command(2, MAX_GROUP_WORK))
        [found] = queue.take()
        taken.append(found.principal.org)
        if found is one and len(one.command.items) > MAX_GROUP_WORK:  # type: ignore[union-attr]
            part_taken(queue, one)
    assert [at for at, org in enumerate(taken) if org == 1] == [0, 2, 4, 6]


async def test_when_the_queue_is_full_the_organisation_that_has_most_in_it_gives_way() -> None:
    """Its newest command is refused, and only for one that has fewer; what was begun of it stays."""
    queue = CommandQueue(8)
    loop = asyncio.get_running_loop()
    first, second = ([command(org, waiter=loop.create_future()) for _ in range(4)] for org in (1, 2))
    for one in (*first, *second):
        queue.add(one)
    with pytest.raises(Overloaded):
        queue.check_room(1)
    third = [command(3, waiter=loop.create_future()) for _ in range(3)]
    for one in third[:2]:
        queue.add(one)
    assert [one.waiter.done() for one in (*first, *second)] == [False, False, False, True] * 2
    assert isinstance(cast(asyncio.Future[Any], first[3].waiter).exception(), Overloaded)
    assert isinstance(cast(asyncio.Future[Any], second[3].waiter).exception(), Overloaded)
    with pytest.raises(Overloaded):
        queue.add(third[2])
    assert queue.count == 8
    assert [queue.take(), queue.count] == [
        [first[0], second[0], third[0], first[1], second[1], third[1], first[2], second[2]],
        0,
    ]
    queue.put_back([first[0], first[1]])
    queue._max_commands = 2
    with pytest.raises(Overloaded):
        queue.add(third[2])


@pytest.mark.parametrize("seed", range(20))
async def test_an_organisation_with_fewer_commands_than_its_part_is_never_refused(seed: int) -> None:
    chance, queue, asked = random.Random(seed), CommandQueue(40), list[asyncio.Future[Any]]()
    for _ in range(500):
        org = chance.choice((1, 1, 1, 2, 2, 3, 4))
        waiting = {org: len(line) for org, line in queue._lines.items()}
        try:
            asked.append(asyncio.get_running_loop().create_future())
            queue.add(command(org, waiter=asked[-1]))
        except Overloaded:
            assert (waiting.get(org, 0) + 1) * len(waiting | {org: 0}) > 40
        assert queue.count == sum(len(line) for line in queue._lines.values()) <= 40
        if chance.random() < 0.002:
            queue.take()
    for line in queue._lines.values():
        assert not any(one.waiter.done() for one in line), "what was given up is not in it"
    assert {type(one.exception()) for one in asked if one.done()} == {Overloaded}
