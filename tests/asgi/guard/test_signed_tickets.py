"""Stream tickets of several nodes: signed, good for a minute, and for one stream wherever it is opened."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeClock, SeededIds
from towerlog.asgi.guard.tickets import LIFETIME_MS, SKEW_MS, Repeat, SignedTickets
from towerlog.errors import IdempotencyMismatch

DIGEST = bytes(range(32))


class Spent:
    """What the store knows was used."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    async def spend(self, name: str, _ttl_ms: int) -> bool:
        """Once."""
        fresh = name not in self.names
        self.names.add(name)
        return fresh


@pytest.fixture
def spent() -> Spent:
    return Spent()


def node(spent: Spent, clock: FakeClock, secret: str = "secret", seed: int = 0) -> SignedTickets:
    """One node of a store."""
    return SignedTickets(SeededIds(seed), clock, secret, spent.spend)


async def test_what_one_node_gives_opens_one_stream_at_another(spent: Spent) -> None:
    clock = FakeClock()
    first, second = node(spent, clock), node(spent, clock, seed=1)
    text = first.give(DIGEST, 1, 0).text
    assert second.holder(text, 0) == DIGEST
    assert await second.use(text, 0) == DIGEST
    assert [await one.use(text, 0) for one in (first, second)] == [None, None]


async def test_it_is_good_for_a_minute_by_clocks_that_differ(spent: Spent) -> None:
    clock, ahead = FakeClock(), FakeClock()
    ahead.jump(SKEW_MS - 1)
    text = node(spent, clock).give(DIGEST, 1, 0).text
    assert node(spent, ahead).holder(text, 0) == DIGEST
    clock.jump(LIFETIME_MS + SKEW_MS + 1)
    assert node(spent, clock).holder(text, 0) is None


@pytest.mark.parametrize("at", [0, 3, 20, 40, -1])
async def test_nothing_else_is_one(spent: Spent, at: int) -> None:
    clock = FakeClock()
    text = node(spent, clock).give(DIGEST, 1, 0).text
    changed = "A" if text[at] != "A" else "B"
    spoiled = text[:at] + changed + (text[at + 1 :] if at != -1 else "")
    for bad in (spoiled, text[:-4], text + "AAAA", "", "ü", "=" * 92):
        assert await node(spent, clock).use(bad, 0) is None, bad
    assert node(spent, clock, "another secret").holder(text, 0) is None
    assert spent.names == set()


async def test_a_repeated_request_gets_the_same_until_it_is_used(spent: Spent) -> None:
    tickets = node(spent, FakeClock())
    repeat = Repeat("k", b"body")
    text = tickets.give(DIGEST, 1, 0, repeat).text
    assert tickets.give(DIGEST, 1, 5, repeat).text == text
    with pytest.raises(IdempotencyMismatch):
        tickets.give(DIGEST, 1, 5, Repeat("k", b"other"))
    assert await tickets.use(text, 5) == DIGEST
    assert tickets.give(DIGEST, 1, 6, repeat).text != text
