"""The law of what is shared: who stays within the fair part is never refused, and only who holds more gives way."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from towerlog.asgi.guard.ledger import Account, ShareLedger
from towerlog.asgi.shares.share import Hold, Resource, Share
from towerlog.errors import Overloaded
from towerlog.model.principal import Principal

WHOLE = 12_000


@dataclass
class Market:
    """Takers of bytes, each of which can be made to give back what it has taken, unless it is at work with that."""

    ledger: ShareLedger = field(default_factory=lambda: ShareLedger(WHOLE, {}, {}))
    gave_way: list[tuple[int, int, int]] = field(default_factory=list)
    """Of those who had to: the size, what its organisation or its key held, and what that of who asked would hold."""
    live: dict[int, tuple[Account, int, Hold]] = field(default_factory=dict)
    count: int = 0
    asked: int = 0
    asker: Account = field(init=False)

    def account(self, org: str, key: str) -> Account:
        return self.ledger.account(Principal(1, org, "u", key, frozenset()))

    def take(self, org: str, key: str, size: int, *, is_at_work: bool = False) -> int:
        """Takes so much and gives the number by which it can be given back. Raises Overloaded."""
        account = self.account(org, key)
        self.gave_way.clear()
        number = self.count = self.count + 1

        def let_go() -> None:
            asker = self.asker
            if asker.organisation is account.organisation:
                held, own = account.key.held_bytes, asker.key.held_bytes
            else:
                held, own = account.organisation.held_bytes, asker.organisation.held_bytes
            self.gave_way.append((size, held, own + self.asked))
            self.give(number)

        self.asker, self.asked = account, size
        self.ledger.take_bytes(account.shares, size)
        hold = Hold(let_go, lambda: size)
        self.live[number] = account, size, hold
        if not is_at_work:
            account.key.offer(Resource.BYTES, hold)
        return number

    def give(self, number: int) -> None:
        """Gives it back."""
        account, size, hold = self.live.pop(number)
        account.key.withdraw(Resource.BYTES, hold)
        self.ledger.give_bytes(account.shares, size)

    def held_of(self, org: str) -> int:
        return self.account(org, org).organisation.held_bytes


def holders(share: Share) -> int:
    return sum(child.held_bytes > 0 for child in share.children.values())


@pytest.mark.parametrize("at_work", [0.0, 0.3], ids=["all can be given up", "some are at work"])
@pytest.mark.parametrize("seed", range(40))
def test_who_holds_less_than_the_fair_part_is_never_refused(seed: int, at_work: float) -> None:
    """Of random takers: only who holds more than the asker would gives way, and what is counted is what is held."""
    chance, market = random.Random(seed), Market()
    process = market.ledger.process
    orgs = [f"o{number}" for number in range(chance.randint(2, 6))]
    greed = {org: chance.choice((100, 900, 4000)) for org in orgs} | {"o0": 4000}
    refused = yielded = 0
    for _ in range(400):
        org = chance.choice(orgs)
        key, size = f"{org}{chance.randint(1, 3)}", chance.randint(1, greed[org])
        account = market.account(org, key)
        own, own_of_key = account.organisation.held_bytes + size, account.key.held_bytes + size
        others = holders(process) + (account.organisation.held_bytes == 0)
        is_within = own <= account.organisation.bounds.byte_count and own_of_key <= account.key.bounds.byte_count
        before = process.held_bytes
        try:
            market.take(org, key, size, is_at_work=chance.random() < at_work)
        except Overloaded:
            refused += 1
            assert not (is_within and own * others <= WHOLE), "it held less than its fair part"
        else:
            assert all(held > own_then for _, held, own_then in market.gave_way)
            yielded += len(market.gave_way)
        if before <= WHOLE and not at_work:
            assert process.held_bytes <= WHOLE
        assert process.held_bytes == sum(size for _, size, _ in market.live.values())
        assert process.held_bytes == sum(child.held_bytes for child in process.children.values())
        for number in [number for number in market.live if chance.random() < 0.02]:
            market.give(number)
    assert refused + yielded, "there was never too little"


@pytest.mark.parametrize("seed", range(20))
def test_what_is_short_is_divided_as_max_min_fairness_does(seed: int) -> None:
    """Everybody goes on asking for what it wants, in any order, until nobody gets more."""
    chance, market = random.Random(seed), Market()
    wants = {f"o{number}": chance.choice((300, 1500, 3000, 9000)) for number in range(chance.randint(3, 9))}
    for _ in range(60):
        for org in chance.sample(sorted(wants), len(wants)):
            for _ in range(20):
                if market.held_of(org) + 100 <= wants[org]:
                    try:
                        market.take(org, f"{org}{chance.randint(1, 9)}", 100)
                    except Overloaded:
                        break
    left, expected = float(WHOLE), dict[str, float]()
    for number, org in enumerate(sorted(wants, key=wants.__getitem__)):
        expected[org] = min(wants[org], left / (len(wants) - number))
        left -= expected[org]
    assert {org: market.held_of(org) for org in wants} == pytest.approx(expected, abs=200)


def test_two_that_have_all_leave_a_third_its_part() -> None:
    """Three quarters and the rest: where no part of one is the whole, the parts of two are more than that."""
    market = Market()
    for org, count in (("a", 3), ("b", 1)):
        for number in range(count):
            market.take(org, f"{org}{number}", 3000)
    assert market.ledger.process.free_bytes == 0
    market.take("c", "c", 3900)
    assert (market.held_of("a"), market.held_of("b"), market.held_of("c")) == (3000, 3000, 3900)


def test_of_one_organisation_the_key_that_holds_most_gives_way() -> None:
    market = Market()
    for size in (2000, 3500):
        market.take("a", "hog", size)
    market.take("a", "other", 3000)
    market.take("a", "third", 1500)
    assert [size for size, _, _ in market.gave_way] == [3500], "its largest, and that is enough"
    held = {key: market.account("a", key).key.held_bytes for key in ("hog", "other", "third")}
    assert held == {"hog": 2000, "other": 3000, "third": 1500}


def test_who_holds_most_is_refused_and_nobody_gives_way() -> None:
    market = Market()
    market.take("a", "a1", 4500)
    market.take("a", "a2", 3000)
    market.take("b", "b", 4400)
    with pytest.raises(Overloaded, match="This server"):
        market.take("a", "a1", 200)
    assert market.gave_way == []


def test_equals_do_not_take_from_each_other() -> None:
    """Else each of two that want all would have what the other has begun thrown away, and neither came to an end."""
    market = Market()
    for org in "aabb":
        market.take(org, f"{org}{market.count}", 3000)
    for org, key in (("a", "a0"), ("b", "b2"), ("a", "a1"), ("b", "b3")):
        with pytest.raises(Overloaded):
            market.take(org, key, 1)


def test_what_is_at_work_is_waited_for_by_nobody_who_holds_little() -> None:
    """The whole is exceeded for that moment; and who is beyond the fair part is refused meanwhile."""
    market = Market()
    for org, key in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")):
        market.take(org, key, 4500 if org == "a" else 3000, is_at_work=True)
    assert market.ledger.process.held_bytes == 15_000
    with pytest.raises(Overloaded):
        market.take("b", "b1", 1)
    market.take("c", "c", 4000)
    with pytest.raises(Overloaded):
        market.take("a", "a1", 1)
