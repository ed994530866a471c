"""Waiting claims: one is woken for each lane, the oldest that may take it, and no lane lies free while one sleeps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from towerlog.engine.follow import claims as module
from towerlog.engine.follow.claims import Claims, ClaimTicket
from towerlog.model.lane import Lane, QueueState

ORG = 1


def lane(run: int, agent: str = "a", state: QueueState = QueueState.QUEUED, org: int = ORG, **labels: str) -> Lane:
    """A run's lane, free unless said otherwise."""
    return Lane(run, org, state, agent, 0, labels)


def commit(claims: Claims, *lanes: Lane) -> None:
    """These lanes changed."""
    claims.committed({one.run: one for one in lanes})


def woken(*tickets: ClaimTicket) -> list[bool]:
    """Who has a reason to look."""
    return [ticket.woken.is_set() for ticket in tickets]


def taken(claims: Claims, ticket: ClaimTicket, run: int) -> None:
    """A claim that was answered with a run."""
    commit(claims, lane(run, state=QueueState.HELD))
    claims.leave(ticket)


def test_each_lane_wakes_one_and_the_oldest_first() -> None:
    claims = Claims()
    tickets = [claims.enter(ORG, None, {}) for _ in range(4)]
    commit(claims, lane(1))
    assert woken(*tickets) == [True, False, False, False]
    commit(claims, lane(2), lane(3))
    assert woken(*tickets) == [True, True, True, False]


@pytest.mark.parametrize(
    ("agents", "labels", "fits"),
    [
        (None, {"gpu": "yes", "zone": "b"}, True),
        (("x", "a", "a"), {"gpu": "yes"}, True),
        (("x",), {"gpu": "yes"}, False),
        (("a",), {}, False),
        (None, {"gpu": "no"}, False),
        (None, {"yes": "gpu"}, False),
        ((), {"gpu": "yes"}, False),
    ],
)
def test_it_matches_as_the_store_does(agents: tuple[str, ...] | None, labels: dict[str, str], fits: bool) -> None:
    claims = Claims()
    ticket = claims.enter(ORG, agents, labels)
    found = lane(1, gpu="yes")
    assert found.may_be_taken_by(agents, labels) is fits
    commit(claims, found)
    assert woken(ticket) == [fits]


def test_another_organisations_lane_wakes_nobody() -> None:
    claims = Claims()
    ticket = claims.enter(ORG, None, {})
    commit(claims, lane(1, org=2))
    assert woken(ticket) == [False]


@pytest.mark.parametrize("state", [QueueState.BLOCKED, QueueState.HELD, QueueState.DONE])
def test_a_lane_that_is_not_free_wakes_nobody(state: QueueState) -> None:
    claims = Claims()
    ticket = claims.enter(ORG, None, {})
    commit(claims, lane(1, state=state))
    assert woken(ticket) == [False]


def test_the_oldest_is_found_among_agents_and_sets_of_labels() -> None:
    claims = Claims()
    tickets = [
        claims.enter(ORG, ("b",), {}),
        claims.enter(ORG, ("a", "b"), {"zone": "b"}),
        claims.enter(ORG, None, {"zone": "b", "gpu": "yes"}),
        claims.enter(ORG, ("a",), {}),
    ]
    for number, expected in enumerate([1, 2, 3]):
        commit(claims, lane(number))
        assert woken(*tickets).count(True) == number + 1
        assert tickets[expected].woken.is_set()


def test_whoever_leaves_on_its_way_hands_its_wake_on() -> None:
    claims = Claims()
    first, second, third = (claims.enter(ORG, None, {}) for _ in range(3))
    commit(claims, lane(1))
    claims.leave(first)
    assert woken(second, third) == [True, False]
    taken(claims, second, 7)  # it was given another one
    assert woken(third) == [True]
    taken(claims, third, 1)
    assert not claims


def test_whoever_got_its_lane_hands_nothing_on() -> None:
    claims = Claims()
    first, second = (claims.enter(ORG, None, {}) for _ in range(2))
    commit(claims, lane(1))
    taken(claims, first, 1)
    assert woken(second) == [False]


def test_a_look_in_vain_keeps_its_place_and_wakes_nobody() -> None:
    claims = Claims()
    first, second = (claims.enter(ORG, None, {}) for _ in range(2))
    commit(claims, lane(1))
    first.woken.clear()
    claims.missed(first)
    assert woken(first, second) == [False, False]
    commit(claims, lane(2))
    assert woken(first, second) == [True, False]


def test_whoever_lost_its_lane_is_sent_to_one_of_the_same_commit() -> None:
    """Its look may have been planned before that one was free."""
    claims = Claims()
    ticket = claims.enter(ORG, None, {})
    commit(claims, lane(1))
    ticket.woken.clear()
    commit(claims, lane(2), lane(1, state=QueueState.HELD))
    assert woken(ticket) == [True]


def test_a_lane_that_is_free_again_is_still_somebodys() -> None:
    claims = Claims()
    first, second = (claims.enter(ORG, None, {}) for _ in range(2))
    commit(claims, lane(1))
    first.woken.clear()
    commit(claims, lane(1))
    assert woken(first, second) == [True, False], "it looks again, and nobody else need to"


def test_leaving_twice_and_missing_without_a_lane_change_nothing() -> None:
    claims = Claims()
    gone, stays = (claims.enter(ORG, ("a", "b"), {}) for _ in range(2))
    claims.leave(gone)
    claims.leave(gone)
    claims.missed(stays)
    commit(claims, lane(1))
    assert woken(gone, stays) == [False, True]
    claims.leave(stays)
    assert not claims
    assert not claims._lines


def test_nobody_of_another_agent_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their number nor that of their labels counts: they stand in other lines."""
    claims = Claims()
    for number in range(1000):
        claims.enter(ORG, ("other",), {"host": str(number)})
    ticket = claims.enter(ORG, ("a",), {})
    seen: list[object] = []
    monkeypatch.setattr(
        module, "enumerate", lambda lines: seen.extend(labels for labels, _ in lines) or [], raising=False
    )
    commit(claims, lane(1))
    assert seen == [ticket.labels]


def test_no_set_of_labels_is_passed_over_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the first that matches will do, and those behind it have their turn."""
    monkeypatch.setattr(module, "SETS_COMPARED", 2)
    claims = Claims()
    tickets = [claims.enter(ORG, None, {"set": str(number % 5)}) for number in range(20)]
    for run in range(5):
        commit(claims, lane(run))
    assert {ticket.labels for ticket in tickets if ticket.woken.is_set()} == {ticket.labels for ticket in tickets[:5]}


# A world of lanes and claims, in which anything may happen at any time


@dataclass
class Caller:
    """A claim as `Waits.claim` drives it; `looked` is what its look, once planned, will have found."""

    ticket: ClaimTicket
    state: str = "submitted"
    looked: int | None = None

    def may_take(self, lane: Lane) -> bool:
        return lane.may_be_taken_by(
            None if None in self.ticket.agents else tuple(a for a in self.ticket.agents if a is not None),
            dict(self.ticket.labels),
        )


@dataclass
class World:
    """Lanes as they are stored, claims, and a writer that plans in groups and commits them whole."""

    dice: random.Random
    claims: Claims = field(default_factory=Claims)
    stored: dict[int, Lane] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)
    made: int = 0

    def labels(self) -> dict[str, str]:
        return {name: self.dice.choice("12") for name in ("x", "y") if self.dice.random() < 0.4}

    def come(self) -> None:
        """One more claim; it has submitted its first look."""
        agents = self.dice.choice([None, ("a",), ("b",), ("a", "b")])
        self.callers.append(Caller(self.claims.enter(ORG, agents, self.labels())))

    def commit_group(self) -> None:
        """Plans what was submitted, with some lanes queued, given back and taken by others, and commits it all."""
        changed: dict[int, Lane] = {}
        free = {run for run, lane in self.stored.items() if lane.state is QueueState.QUEUED}
        acts: list[Caller | str] = [
            one for one in self.callers if one.state == "submitted" and self.dice.random() < 0.8
        ]
        acts += self.dice.choices(["new", "back", "stolen", "beat"], k=self.dice.randrange(4))
        self.dice.shuffle(acts)
        for act in acts:
            if isinstance(act, Caller):
                self._look(act, free, changed)
            else:
                self._others(act, free, changed)
        self.stored.update(changed)
        # As the engine does it: the wake first, then the answers.
        self.claims.committed(changed)
        for caller in [one for one in self.callers if one.state == "planned"]:
            self._answer(caller)

    def _look(self, caller: Caller, free: set[int], changed: dict[int, Lane]) -> None:
        """Takes the oldest that fits; what this group makes free is not stored yet, and not found."""
        caller.state, caller.looked = "planned", None
        for run in sorted(free):
            if caller.may_take(self.stored[run]):
                free.discard(run)
                changed[run] = lane_as(self.stored[run], QueueState.HELD)
                caller.looked = run
                return

    def _others(self, act: str, free: set[int], changed: dict[int, Lane]) -> None:
        if act == "new":
            self.made += 1
            changed[self.made] = lane(self.made, self.dice.choice("aab"), **self.labels())
        elif act == "stolen" and free:
            run = self.dice.choice(sorted(free))
            free.discard(run)
            changed[run] = lane_as(self.stored[run], QueueState.HELD)
        else:
            held = [run for run, one in self.stored.items() if one.state is QueueState.HELD and run not in changed]
            if held:
                run = self.dice.choice(held)
                state = QueueState.QUEUED if act == "back" else QueueState.HELD
                changed[run] = lane_as(self.stored[run], state)

    def _answer(self, caller: Caller) -> None:
        ticket = caller.ticket
        if caller.looked is not None or self.dice.random() < 0.1:  # it has its run, or its commit failed for it alone
            self._gone(caller)
        elif ticket.woken.is_set():
            self._submit(caller)
        else:
            self.claims.missed(ticket)
            caller.state = "asleep"

    def _submit(self, caller: Caller) -> None:
        caller.ticket.woken.clear()
        caller.state = "submitted"

    def _gone(self, caller: Caller) -> None:
        self.callers.remove(caller)
        self.claims.leave(caller.ticket)

    def go_on(self) -> None:
        """Some of those that were woken submit their look; some of all leave before."""
        for caller in list(self.callers):
            if self.dice.random() < 0.05:
                self._gone(caller)
            elif caller.state == "asleep" and caller.ticket.woken.is_set() and self.dice.random() < 0.7:
                self._submit(caller)

    def check(self) -> None:
        """No lane is free that a sleeping claim could take, unless somebody who may take it is awake."""
        for lane in self.stored.values():
            able = [caller for caller in self.callers if lane.state is QueueState.QUEUED and caller.may_take(lane)]
            awake = [one for one in able if one.state == "submitted" or one.ticket.woken.is_set()]
            assert awake or not able, f"{lane} lies free while {len(able)} sleep"


def lane_as(lane: Lane, state: QueueState) -> Lane:
    """The lane in another state."""
    return Lane(lane.run, lane.org, state, lane.agent, 0, lane.labels)


@pytest.mark.parametrize("seed", range(40))
def test_no_lane_lies_free_while_a_claim_that_may_take_it_sleeps(seed: int) -> None:
    world = World(random.Random(seed))
    for _ in range(150):
        for _ in range(world.dice.randrange(3)):
            world.come()
        world.go_on()
        world.check()
        world.commit_group()
        world.check()
    while world.callers:
        world._gone(world.callers[0])
        world.check()
    assert not world.claims
    assert not world.claims._lines
    assert not world.claims._on_the_way


def test_about_as_many_look_as_there_are_runs() -> None:
    """A thousand wait; of those that are woken few look in vain."""
    claims = Claims()
    waiting = [claims.enter(ORG, ("a",), {}) for _ in range(1000)]
    looks = 0
    for run in range(300):
        commit(claims, lane(run))
        [first, *rest] = [ticket for ticket in waiting if ticket.woken.is_set()]
        assert not rest
        looks += 1
        waiting.remove(first)
        taken(claims, first, run)
    assert (looks, len(waiting)) == (300, 700)
