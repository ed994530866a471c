"""The ledger: shares hold, none is the whole, what is given back is there again, and the refused are spread out."""

from __future__ import annotations

import pytest

from towerlog.asgi.guard import ledger as ledgers
from towerlog.asgi.guard.ledger import PlaceKind, ShareLedger
from towerlog.errors import Overloaded
from towerlog.model.principal import Principal, Scope


def principal(key: str, org: str = "o") -> Principal:
    return Principal(1, org, "u", key, frozenset({Scope.READ}))


def made(max_bytes: int = 1000, **own: dict[PlaceKind, int]) -> ShareLedger:
    return ShareLedger(max_bytes, {PlaceKind.CONNECTION: 40, PlaceKind.STREAM: 40, PlaceKind.POLL: 40}, own)


def test_bytes_have_a_bound_and_what_is_given_back_is_there_again() -> None:
    ledger = made(100)
    shares = (ledger.process,)
    ledger.take_bytes(shares, 60)
    ledger.take_bytes(shares, 40)
    with pytest.raises(Overloaded, match="server has as many bytes"):
        ledger.take_bytes(shares, 1)
    ledger.give_bytes(shares, 60)
    ledger.take_bytes(shares, 60)
    assert (ledger.process.held_bytes, ledger.refused) == (100, 1)


def test_one_body_alone_is_always_let_in_also_in_pieces() -> None:
    ledger = made(100)
    shares = (ledger.process,)
    ledger.take_bytes(shares, 60)
    ledger.take_bytes(shares, 60, own=60)
    with pytest.raises(Overloaded):
        ledger.take_bytes(shares, 1)


def test_no_key_has_the_whole_and_no_organisation() -> None:
    ledger = made(1000)
    first, second, other = (ledger.account(principal(*who)) for who in (("a", "o"), ("b", "o"), ("c", "p")))
    ledger.take_bytes(first.shares, 500)
    with pytest.raises(Overloaded, match="This key"):
        ledger.take_bytes(first.shares, 1)
    ledger.take_bytes(second.shares, 250)
    with pytest.raises(Overloaded, match="This organisation"):
        ledger.take_bytes(second.shares, 1)
    ledger.take_bytes(other.shares, 250)
    assert ledger.process.free_bytes == 0


def test_no_address_has_the_whole() -> None:
    ledger = made(1000)
    shares = (ledger.address("192.0.2.1"), ledger.process)
    ledger.take_bytes(shares, 250)
    with pytest.raises(Overloaded, match="This address"):
        ledger.take_bytes(shares, 1)
    ledger.take_bytes((ledger.address("192.0.2.2"), ledger.process), 250)


@pytest.mark.parametrize("kind", list(PlaceKind))
def test_places_have_shares_as_bytes_have(kind: PlaceKind) -> None:
    ledger = made(key={kind: 3}, organisation={kind: 5})
    first, second = ledger.account(principal("a")), ledger.account(principal("b"))
    held = [ledger.take_place(first.shares, kind) for _ in range(3)]
    with pytest.raises(Overloaded, match=rf"This key has as many {kind.value} open as it may have \(3\)"):
        ledger.take_place(first.shares, kind)
    held += [ledger.take_place(second.shares, kind) for _ in range(2)]
    with pytest.raises(Overloaded, match=r"This organisation .*\(5\)"):
        ledger.take_place(second.shares, kind)
    assert ledger.process.places[kind] == 5
    held[0]()
    held[0]()
    assert ledger.process.places[kind] == 4, "given back once"
    ledger.take_place(second.shares, kind)


def test_without_a_setting_a_key_may_have_a_part_of_all_places() -> None:
    ledger = made()
    account = ledger.account(principal("a"))
    for _ in range(20):
        ledger.take_place(account.shares, PlaceKind.POLL)
    with pytest.raises(Overloaded):
        ledger.take_place(account.shares, PlaceKind.POLL)


def test_keys_of_one_organisation_share_and_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that hold nothing are forgotten when there are too many."""
    monkeypatch.setattr(ledgers, "MAX_ACCOUNTS", 3)
    ledger = made()
    busy = ledger.account(principal("busy"))
    ledger.take_bytes(busy.shares, 1)
    others = [ledger.account(principal(f"k{number}")) for number in range(10)]
    assert ledger.account(principal("busy")) is busy
    assert len(ledger.accounts) <= 4
    assert {account.organisation for account in others} == {busy.organisation}


def test_what_holds_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MAX_IDLE_SHARES", 3)
    ledger = made()
    busy, account = ledger.address("192.0.2.1"), ledger.account(principal("a"))
    ledger.take_place((busy,), PlaceKind.CONNECTION)
    idle = [ledger.address(f"198.51.100.{number}") for number in range(9)]
    ledger.tick(0)
    assert ledger.address("192.0.2.1") is busy
    assert ledger.address("198.51.100.0") is not idle[0]
    assert ledger.account(principal("b")).organisation is account.organisation


def test_those_who_were_refused_together_do_not_come_back_together() -> None:
    ledger = made(key={PlaceKind.STREAM: 0})
    shares = ledger.account(principal("a")).shares
    waits = set()
    for _ in range(6):
        with pytest.raises(Overloaded) as caught:
            ledger.take_place(shares, PlaceKind.STREAM)
        waits.add(caught.value.retry_after)
    assert waits == {1, 2, 3}
