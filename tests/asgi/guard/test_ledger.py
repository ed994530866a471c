"""The ledger: shares hold, none is the whole, what is given back is there again, and the refused are spread out."""

from __future__ import annotations

import pytest

from towerlog.asgi.guard import ledger as ledgers
from towerlog.asgi.guard.addresses import Addresses
from towerlog.asgi.guard.arrivals import Arrivals
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.shares.law import MAX_AT_ONCE
from towerlog.asgi.shares.share import PLACES, Resource
from towerlog.errors import Overloaded
from towerlog.model.principal import Principal, Scope


def principal(key: str, org: str = "o") -> Principal:
    return Principal(1, org, "u", key, frozenset({Scope.READ}))


def made(max_bytes: int = 1000, **own: dict[Resource, int]) -> ShareLedger:
    return ShareLedger(max_bytes, {Resource.CONNECTION: 40, Resource.STREAM: 40, Resource.POLL: 40}, own)


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


@pytest.mark.parametrize("kind", PLACES)
def test_places_have_shares_as_bytes_have(kind: Resource) -> None:
    ledger = made(key={kind: 3}, organisation={kind: 5})
    first, second = ledger.account(principal("a")), ledger.account(principal("b"))
    held = [ledger.take_place(first.shares, kind) for _ in range(3)]
    with pytest.raises(Overloaded, match=rf"This key has as many {kind.value} open as it may have \(3\)"):
        ledger.take_place(first.shares, kind)
    held += [ledger.take_place(second.shares, kind) for _ in range(2)]
    with pytest.raises(Overloaded, match=r"This organisation .*\(5\)"):
        ledger.take_place(second.shares, kind)
    assert ledger.process.places[kind] == 5
    held[0].give_back()
    held[0].give_back()
    assert ledger.process.places[kind] == 4, "given back once"
    ledger.take_place(second.shares, kind)


def test_without_a_setting_a_key_may_have_a_part_of_all_places() -> None:
    ledger = made()
    account = ledger.account(principal("a"))
    for _ in range(20):
        ledger.take_place(account.shares, Resource.POLL)
    with pytest.raises(Overloaded):
        ledger.take_place(account.shares, Resource.POLL)


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
    ledger.take_place((busy,), Resource.CONNECTION)
    idle = [ledger.address(f"198.51.100.{number}") for number in range(9)]
    ledger.tick(0)
    assert ledger.address("192.0.2.1") is busy
    assert ledger.address("198.51.100.0") is not idle[0]
    assert ledger.account(principal("b")).organisation is account.organisation


def test_those_who_were_refused_together_do_not_come_back_together() -> None:
    ledger = made(key={Resource.STREAM: 0})
    shares = ledger.account(principal("a")).shares
    waits = set()
    for _ in range(6):
        with pytest.raises(Overloaded) as caught:
            ledger.take_place(shares, Resource.STREAM)
        waits.add(caught.value.retry_after)
    assert waits == {1, 2, 3}


def test_replies_to_callers_without_a_key_have_a_part_and_no_more() -> None:
    """Whoever finds no room has to be cut off; one reader alone always has room."""
    arrivals = Arrivals(ShareLedger(1000, {}, {}), Addresses())
    visits = [arrivals.visit((f"192.0.2.{number}", 1)) for number in range(6)]
    for visit in visits:
        visit.enter()
    assert visits[0].hold_reply(900)
    assert visits[0].hold_reply(100)
    assert [visit.hold_reply(100) for visit in visits[1:]] == [True, False, False, False, False]
    for visit in visits:
        visit.leave()
    assert arrivals.ledger.unknown.is_idle
    assert arrivals.ledger.process.is_idle


def test_a_key_that_is_known_too_late_takes_no_place() -> None:
    """Its caller hung up while it was looked up."""
    arrivals = Arrivals(made(), Addresses())
    visit, account = arrivals.visit(("192.0.2.1", 1)), arrivals.ledger.account(principal("a"))
    visit.enter()
    visit.leave()
    visit.admit(account)
    assert account.key.is_idle
    assert account.organisation.is_idle


def test_a_connection_has_one_place_whatever_its_requests_show() -> None:
    """Pipelined requests are each told to say whose they are, before the first has said it."""
    arrivals = Arrivals(made(key={Resource.CONNECTION: 1}), Addresses())
    ledger = arrivals.ledger
    visit, first, second = arrivals.visit(("192.0.2.1", 1)), *(ledger.account(principal(key)) for key in "ab")
    visit.enter()
    for account in (first, first, second, second):
        visit.admit(account)
    assert (first.key.places[Resource.CONNECTION], second.key.places[Resource.CONNECTION]) == (0, 1)
    visit.leave()
    assert second.key.is_idle
    assert ledger.process.is_idle


def test_what_is_sent_without_a_key_has_a_part_and_no_more_from_however_many_addresses() -> None:
    arrivals = Arrivals(made(1000), Addresses())
    ledger = arrivals.ledger
    visits = [arrivals.visit((f"192.0.2.{number}", 1)) for number in range(4)]
    for visit in visits:
        visit.enter()
    with visits[0].hold_body(250), visits[1].hold_body(250):
        with pytest.raises(Overloaded, match="part for callers without a key"), visits[2].hold_body(1):
            pass
        visits[3].admit(ledger.account(principal("a")))
        with visits[3].hold_body(500):
            assert ledger.process.free_bytes == 0
    for visit in visits:
        visit.leave()
    assert ledger.unknown.is_idle
    assert ledger.process.is_idle


def test_replies_that_wait_have_half_of_a_share_and_then_no_more_are_made() -> None:
    ledger = made(1000)
    arrivals, account = Arrivals(ledger, Addresses()), ledger.account(principal("a"))
    visits = [arrivals.visit(("192.0.2.1", 1)) for _ in range(4)]
    for visit in visits:
        visit.enter()
        visit.admit(account)
    assert visits[0].hold_reply(900), "one alone always has room"
    with pytest.raises(Overloaded, match="This key has as many bytes of replies unread"):
        ledger.check_replies(account.shares)
    assert visits[0].hold_reply(150)
    ledger.check_replies(account.shares)
    assert visits[1].hold_reply(100)
    ledger.check_replies(account.shares)
    assert not visits[2].hold_reply(10), "a quarter of all is half of the key's"
    ledger.take_bytes(account.shares, 240)
    assert visits[2].hold_reply(0)
    assert ledger.process.held_bytes == 490, "bodies have the other half"
    for visit in visits:
        visit.leave()
    ledger.check_replies(account.shares)
    assert ledger.process.reply_bytes == 0


class Reader:
    """A connection whose reader may be cut off."""

    is_idle = False
    was_cut = False

    def cut_reader(self) -> None:
        self.was_cut = True


def test_what_others_send_cuts_off_no_reader_of_a_reply_that_is_larger_than_the_share() -> None:
    """A state of tens of megabytes takes a moment to be read, and its agent's key may be that of many others."""
    ledger = made(1000)
    arrivals, account, reader = Arrivals(ledger, Addresses()), ledger.account(principal("a")), Reader()
    large, sender = arrivals.visit(("192.0.2.1", 1), reader), arrivals.visit(("192.0.2.1", 2))
    for visit in (large, sender):
        visit.enter()
        visit.admit(account)
    with sender.hold_body(200):
        assert large.hold_reply(900), "nor does what they have in hand when it begins"
    for size in (100, 250):
        with sender.hold_body(size):
            assert not reader.was_cut
    assert large.hold_reply(500)
    large.hold_reply(0)
    assert account.key.free_bytes == 500
    assert ledger.process.free_bytes == 1000


class Idle:
    """A connection that does nothing."""

    is_idle = True

    def __init__(self) -> None:
        self.was_closed = False

    def make_place(self) -> None:
        self.was_closed = True

    def cut_reader(self) -> None:
        raise AssertionError("nothing is written to it")


def entered(arrivals: Arrivals, address: str) -> Idle:
    caller = Idle()
    arrivals.visit((address, 1), caller).enter()
    return caller


def test_callers_without_a_key_make_place_for_each_other_the_fullest_address_first() -> None:
    arrivals = Arrivals(ShareLedger(1000, {Resource.CONNECTION: 40}, {}), Addresses())
    many = [entered(arrivals, "192.0.2.1") for _ in range(8)]
    few = [entered(arrivals, f"192.0.2.{number}") for number in (2, 3, 4, 5)]
    assert [one.was_closed for one in many] == [True, True] + [False] * 6
    assert not any(one.was_closed for one in few)
    assert arrivals.ledger.unknown.places[Resource.CONNECTION] == 10


def test_of_many_addresses_that_have_as_many_several_make_place_at_once() -> None:
    """They are looked through once for so many newcomers."""
    arrivals = Arrivals(ShareLedger(1000, {Resource.CONNECTION: 800}, {}), Addresses())
    callers = [entered(arrivals, f"10.0.0.{number}") for number in range(200)]
    assert not any(one.was_closed for one in callers)
    entered(arrivals, "10.0.1.1")
    assert [one.was_closed for one in callers] == [True] * MAX_AT_ONCE + [False] * (200 - MAX_AT_ONCE)


def test_a_key_that_comes_is_let_in_by_the_organisation_that_has_most_connections() -> None:
    """Its connection has still to show the key: it comes as one of those without."""
    arrivals = Arrivals(made(), Addresses())
    held: list[Idle] = []
    for org, count in (("o", 27), ("p", 13)):
        for number in range(count):
            caller = Idle()
            visit = arrivals.visit(("192.0.2.1", 1), caller)
            visit.enter()
            visit.admit(arrivals.ledger.account(principal(f"{org}{number % 2}", org)))
            held.append(caller)
    assert not any(one.was_closed for one in held)
    third = arrivals.visit(("192.0.2.9", 1), Idle())
    third.enter()
    third.admit(arrivals.ledger.account(principal("q", "q")))
    assert [one.was_closed for one in held] == [True] + [False] * 39
    assert arrivals.ledger.process.places[Resource.CONNECTION] == 40
