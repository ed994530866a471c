"""Keys: recognised, remembered for two seconds, all refusals alike, open streams stopped when theirs is revoked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.asgi.conversation import HandClock
from towerlog.ambient import SystemIds
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard import auth
from towerlog.asgi.guard.auth import SEEN_MS, TWO_KEYS, Authenticator
from towerlog.asgi.guard.tickets import LIFETIME_MS, Tickets
from towerlog.errors import StorageFailed, Unauthenticated
from towerlog.model.key import Key, KeyFound, digest_of
from towerlog.model.member import session_digest
from towerlog.model.principal import Principal, Scope

TEXT = "tl_live_" + "a" * 47


class Keys:
    """A store of keys that counts the questions."""

    def __init__(self) -> None:
        self.rows: dict[bytes, KeyFound] = {}
        self.asked = 0
        self.is_broken = False
        self.seen: list[tuple[set[bytes], int, int]] = []

    async def sessions_seen(self, digests: set[bytes], now_ms: int, until_ms: int) -> None:
        self.seen.append((digests, now_ms, until_ms))

    def put(self, text: str, key_id: str = "k", revoked_at: int | None = None) -> None:
        key = Key(7, key_id, "u", "n", (Scope.READ,), digest_of(text), "hint", 0, revoked_at)
        self.rows[key.digest] = KeyFound(key, "org")

    async def key_by_digest(self, digest: bytes) -> KeyFound | None:
        self.asked += 1
        if self.is_broken:
            raise StorageFailed
        return self.rows.get(digest)


@pytest.fixture
def keys() -> Keys:
    made = Keys()
    made.put(TEXT)
    return made


@pytest.fixture
def door(keys: Keys, clock: HandClock) -> Authenticator:
    return Authenticator(keys, clock, Tickets(SystemIds(clock)))


def bearer(text: str = TEXT) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + text.encode("latin-1")}


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + TEXT.encode()},
        {b"authorization": b"bearer " + TEXT.encode()},
        {b"authorization": b"Bearer%20" + TEXT.encode()},
        {b"authorization": b"BEARER   " + TEXT.encode() + b" "},
        {b"x-api-key": TEXT.encode()},
        {b"x-api-key": TEXT.encode(), b"authorization": b"Bearer " + TEXT.encode()},
        {b"x-api-key": b"", b"authorization": b"Bearer " + TEXT.encode()},
        {b"x-api-key": TEXT.encode(), b"authorization": b"Basic YTpi"},
        {b"x-api-key": TEXT.encode(), b"authorization": b"Bearer"},
        {b"x-api-key": TEXT.encode(), b"authorization": b""},
    ],
)
async def test_a_key_is_its_principal(door: Authenticator, headers: dict[bytes, bytes]) -> None:
    assert await door.authenticate(headers, 0) == Principal(
        7, "org", "u", "k", frozenset({Scope.READ}), digest_of(TEXT)
    )


@pytest.mark.parametrize("sent", [b"Bearer " + TEXT.encode(), b"Bearer nobody"])
async def test_headers_that_name_two_keys_are_refused(door: Authenticator, keys: Keys, sent: bytes) -> None:
    for headers in ({b"authorization": sent, b"x-api-key": b"other"}, {b"x-api-key": b"other", b"authorization": sent}):
        with pytest.raises(Rejection, match=TWO_KEYS) as caught:
            await door.authenticate(headers, 0)
        assert caught.value.status == 400
    assert keys.asked == 0


@pytest.mark.parametrize(
    "value",
    [b"Bearer nobody", b"Bearer ", b"Bearer", b"Basic " + TEXT.encode(), TEXT.encode(), b"Bearer a b", b"\xff\xff",
     b"Bearer " + b"x" * 5000, b"Bearer " + TEXT.upper().encode()],
)  # fmt: skip
async def test_all_refusals_cost_one_question_and_say_the_same(door: Authenticator, keys: Keys, value: bytes) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await door.authenticate({b"authorization": value}, 0)
    assert keys.asked == 1
    assert caught.value.message == Unauthenticated().message


async def test_a_revoked_key_is_an_unknown_key(door: Authenticator, keys: Keys) -> None:
    keys.put(TEXT, revoked_at=1)
    with pytest.raises(Unauthenticated):
        await door.authenticate(bearer(), 0)
    with pytest.raises(Unauthenticated):
        await door.authenticate({}, 0)


async def test_a_caller_is_remembered_for_two_seconds(door: Authenticator, keys: Keys) -> None:
    assert door.recall(bearer(), 0) is None
    first = await door.authenticate(bearer(), 0)
    assert door.recall(bearer(), 1999) is first
    assert door.recall({b"x-api-key": TEXT.encode()}, 1999) is first
    assert door.recall(bearer(), 2000) is None
    keys.put(TEXT, revoked_at=1)
    with pytest.raises(Unauthenticated):
        await door.authenticate(bearer(), 2000)
    assert door.recall(bearer(), 1999) is None, "and is forgotten at once"


async def test_the_memory_is_bounded(door: Authenticator, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 3)
    for n in range(5):
        keys.put(f"key{n}", key_id=f"k{n}")
        await door.authenticate(bearer(f"key{n}"), 0)
    assert [door.recall(bearer(f"key{n}"), 0) is not None for n in range(5)] == [False, False, True, True, True]


async def test_who_asks_at_the_same_time_waits_for_one_answer(door: Authenticator, keys: Keys) -> None:
    answered, found = asyncio.Event(), keys.key_by_digest

    async def slow(digest: bytes) -> KeyFound | None:
        await answered.wait()
        return await found(digest)

    keys.key_by_digest = slow  # type: ignore[method-assign]
    first, *others = [asyncio.create_task(door.authenticate(bearer(), 0)) for _ in range(20)]
    stranger = asyncio.create_task(door.authenticate(bearer(TEXT[:-1] + "b"), 0))
    await asyncio.sleep(0)
    first.cancel()
    answered.set()
    assert {one.key_id for one in await asyncio.gather(*others)} == {"k"}
    with pytest.raises(Unauthenticated):
        await stranger
    assert keys.asked == 2, "one for each key, whoever has gone away"


async def test_who_comes_after_a_sign_out_is_not_told_what_was_asked_before(door: Authenticator, keys: Keys) -> None:
    principal = await door.authenticate(bearer(), 0)
    answered, found = asyncio.Event(), keys.key_by_digest

    async def slow(digest: bytes) -> KeyFound | None:
        before = await found(digest)
        await answered.wait()
        return before

    keys.key_by_digest = slow  # type: ignore[method-assign]
    early = asyncio.create_task(door.authenticate(bearer(), 2000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    keys.put(TEXT, revoked_at=1)
    door.forget(principal)
    late = asyncio.create_task(door.authenticate(bearer(), 2000))
    answered.set()
    await early
    with pytest.raises(Unauthenticated):
        await late


async def test_a_question_that_fails_fails_all_who_wait_and_nobody_later(door: Authenticator, keys: Keys) -> None:
    keys.is_broken = True
    told = await asyncio.gather(*(door.authenticate(bearer(), 0) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [StorageFailed] * 3
    keys.is_broken = False
    assert (await door.authenticate(bearer(), 0)).key_id == "k"


async def test_nothing_is_remembered_of_strangers(door: Authenticator) -> None:
    await door.authenticate(bearer(), 0)
    for n in range(50):
        with pytest.raises(Unauthenticated):
            await door.authenticate(bearer(f"nobody{n}"), 0)
        assert door.recall(bearer(f"nobody{n}"), 0) is None
    assert door.recall(bearer(), 0) is not None


class Watched:
    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


async def watched(door: Authenticator, keys: Keys, text: str, count: int) -> tuple[Principal, list[Watched]]:
    principal = await door.authenticate(bearer(text), 0)
    streams = [Watched() for _ in range(count)]
    for stream in streams:
        door.watch(principal, stream.stop)
    return principal, streams


async def test_open_streams_are_asked_for_once_a_key_every_two_seconds(door: Authenticator, keys: Keys) -> None:
    keys.put("other", key_id="other")
    await watched(door, keys, TEXT, 5)
    await watched(door, keys, "other", 5)
    keys.asked = 0
    await door.tick(2000)
    assert keys.asked == 2
    await door.tick(3000)
    assert keys.asked == 2, "not twice in two seconds"
    await door.tick(4000)
    assert keys.asked == 4


async def test_a_revoked_keys_streams_are_stopped_and_no_others(door: Authenticator, keys: Keys) -> None:
    keys.put("other", key_id="other")
    _, mine = await watched(door, keys, TEXT, 3)
    _, others = await watched(door, keys, "other", 2)
    await door.tick(2000)
    keys.put(TEXT, revoked_at=1)
    await door.tick(4000)
    assert [stream.stopped for stream in mine] == [1, 1, 1]
    assert [stream.stopped for stream in others] == [0, 0]


async def test_a_stream_that_has_left_is_not_asked_for(door: Authenticator, keys: Keys) -> None:
    principal, (one,) = await watched(door, keys, TEXT, 1)
    door.unwatch(principal, one.stop)
    door.unwatch(principal, one.stop)
    keys.asked = 0
    await door.tick(2000)
    assert keys.asked == 0


async def test_a_store_that_does_not_answer_stops_nobody(door: Authenticator, keys: Keys) -> None:
    _, (one,) = await watched(door, keys, TEXT, 1)
    keys.is_broken = True
    await door.tick(2000)
    assert one.stopped == 0


async def test_the_two_ways_to_send_a_key_do_not_mix(door: Authenticator, keys: Keys) -> None:
    await door.authenticate(bearer(), 0)
    odd: dict[bytes, Any] = {b"x-api-key": b"Bearer " + TEXT.encode()}
    assert door.recall(odd, 0) is None
    with pytest.raises(Unauthenticated):
        await door.authenticate(odd, 0)


async def test_a_ticket_stands_for_its_key_once_and_for_a_minute(door: Authenticator, clock: HandClock) -> None:
    principal = await door.authenticate(bearer(), clock.ms)
    ticket = door.ticket_for(principal).text
    assert await door.by_ticket(ticket, clock.ms + LIFETIME_MS - 1) == principal
    late = door.ticket_for(principal).text
    for used_or_wrong in (ticket, "x", "", TEXT):
        with pytest.raises(Unauthenticated):
            await door.by_ticket(used_or_wrong, clock.ms)
    with pytest.raises(Unauthenticated):
        await door.by_ticket(late, clock.ms + LIFETIME_MS)


async def test_a_ticket_of_a_revoked_key_opens_nothing(door: Authenticator, keys: Keys, clock: HandClock) -> None:
    ticket = door.ticket_for(await door.authenticate(bearer(), clock.ms)).text
    keys.put(TEXT, revoked_at=1)
    with pytest.raises(Unauthenticated):
        await door.by_ticket(ticket, clock.ms)


async def test_a_stream_that_a_ticket_opened_ends_with_its_key(
    door: Authenticator, keys: Keys, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = door.ticket_for(await door.authenticate(bearer(), clock.ms)).text
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 1)
    keys.put("other", "other")
    await door.authenticate(bearer("other"), clock.ms)
    stopped: list[bool] = []
    door.watch(await door.by_ticket(ticket, clock.ms), lambda: stopped.append(True))
    keys.put(TEXT, revoked_at=1)
    await door.tick(clock.ms + auth.RECHECK_MS)
    assert stopped == [True]


async def test_one_key_takes_one_place_however_it_is_spelled(door: Authenticator, keys: Keys) -> None:
    """What is remembered is a digest: no caller fills the memory with blanks around one good key."""
    for blanks in range(1, 500):
        spelled = {b"authorization": b"Bearer" + b" " * blanks + TEXT.encode()}
        if door.recall(spelled, 0) is None:
            await door.authenticate(spelled, 0)
    assert keys.asked == 1
    assert len(door._known) == 1
    assert all(len(known) == 32 for known in door._known)


async def test_the_header_of_a_key_has_a_bound(door: Authenticator, keys: Keys) -> None:
    with pytest.raises(Unauthenticated):
        await door.authenticate({b"authorization": b"Bearer" + b" " * 60_000 + TEXT.encode()}, 0)
    assert len(door._known) == 0
    assert keys.asked == 1


async def test_a_session_is_good_until_it_expires(door: Authenticator, keys: Keys, clock: HandClock) -> None:
    digest = session_digest(b"towerlog", b"text")
    key = Key(7, "u", "u", "n", (Scope.READ,), digest, "", 0)
    keys.rows[digest] = KeyFound(key, "org", clock.ms + 10_000)
    headers = {b"cookie": b"other=1; towerlog=text"}
    principal = await door.authenticate(headers, clock.ms)
    assert principal.is_member
    assert door.recall(headers, clock.ms) == principal
    stream = Watched()
    door.watch(principal, stream.stop)
    clock.move(9)
    await door.tick(clock.ms)
    assert stream.stopped == 0
    clock.move(2)
    await door.tick(clock.ms)
    assert stream.stopped == 1
    with pytest.raises(Unauthenticated):
        await door.authenticate(headers, clock.ms)


async def test_a_session_that_is_used_is_noted_once_a_minute(keys: Keys, clock: HandClock) -> None:
    door = Authenticator(keys, clock, Tickets(SystemIds(clock)), idle_ms=300_000)
    digest, headers = session_digest(b"towerlog", b"text"), {b"cookie": b"towerlog=text"}
    key = Key(7, "u", "u", "n", (Scope.READ,), digest, "", 0)
    keys.rows[digest] = KeyFound(key, "org", clock.ms + 300_000, clock.ms)
    clock.move(SEEN_MS // 1000 - 1)
    await door.authenticate(headers, clock.ms)
    await door.authenticate(bearer(), clock.ms)
    await door.tick(clock.ms)
    assert keys.seen == [], "it was seen lately, and a key is no session"
    clock.move(2)
    await door.authenticate(headers, clock.ms)
    await door.tick(clock.ms)
    assert keys.seen == [({digest}, clock.ms, clock.ms + 300_000)]
    clock.move(2)
    await door.tick(clock.ms)
    assert len(keys.seen) == 1, "nobody has come since"
    door.watch(await door.authenticate(headers, clock.ms), Watched().stop)
    clock.move(2)
    await door.tick(clock.ms)
    assert len(keys.seen) == 2, "an open stream is use"
    clock.move(300)
    with pytest.raises(Unauthenticated):
        await door.authenticate(headers, clock.ms)


@pytest.mark.parametrize(
    "cookie", [b"", b"towerlog", b"towerlog=", b"Towerlog=text", b"xtowerlog=text", b"towerlog=" + b"text" * 30]
)
async def test_a_cookie_that_names_no_session_is_none(door: Authenticator, keys: Keys, cookie: bytes) -> None:
    with pytest.raises(Unauthenticated):
        await door.authenticate({b"cookie": cookie}, 0)


async def test_a_sign_out_counts_at_once(door: Authenticator, keys: Keys) -> None:
    principal = await door.authenticate(bearer(), 0)
    door.forget(principal)
    assert door.recall(bearer(), 0) is None


async def test_two_sessions_of_a_member_end_apart(door: Authenticator, keys: Keys) -> None:
    streams = []
    for text in (b"one", b"two"):
        digest = session_digest(b"towerlog", text)
        keys.rows[digest] = KeyFound(Key(7, "u", "u", "n", (Scope.READ,), digest, "", 0), "org", 1 << 60)
        streams.append(Watched())
        door.watch(await door.authenticate({b"cookie": b"towerlog=" + text}, 0), streams[-1].stop)
    del keys.rows[session_digest(b"towerlog", b"one")]
    await door.tick(2000)
    assert [stream.stopped for stream in streams] == [1, 0]
