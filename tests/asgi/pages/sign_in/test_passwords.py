"""Passwords: their hashes, and the same work for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from towerlog.asgi.pages.sign_in import passwords as module
from towerlog.asgi.pages.sign_in.passwords import Passwords, check_form
from towerlog.errors import Invalid

GOOD = "a long sentence of my own"
WAIT_S = 60


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_password_is_known_by_its_hash_alone(passwords: Passwords) -> None:
    first, second = [await passwords.hashed(GOOD) for _ in range(2)]
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await passwords.are_good(GOOD, first)
    assert not await passwords.are_good(GOOD + " ", first)
    assert not await passwords.are_good(GOOD, "no hash at all")


async def test_nobodys_password_is_checked_like_anybodys(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    verify = module._verify

    def noting(password: str, stored: str) -> bool:
        checked.append(stored.rpartition("$")[0].split("$")[:4])
        return verify(password, stored)

    monkeypatch.setattr(module, "_verify", noting)
    stored = await passwords.hashed(GOOD)
    assert not await passwords.are_good("a wrong one", stored)
    assert not await passwords.are_good(GOOD, None)
    assert not await passwords.are_good("nobody", None), "what the stand-in is a hash of lets nobody in either"
    assert checked == [checked[0]] * 3, "the same work"


async def test_hashes_of_one_organisation_leave_a_core_to_others(passwords: Passwords) -> None:
    inside: list[str] = []

    async def hash_for(organisation: str, one: str) -> None:
        async with passwords.place(organisation, one):
            inside.append(organisation)
            await passwords.hashed(GOOD)

    async with passwords.place("many", "first"):
        waiting = [asyncio.ensure_future(hash_for("many", f"m{number}")) for number in range(20)]
        await asyncio.wait_for(hash_for("other", "o"), WAIT_S)
        assert inside == ["other"]
    await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)
    assert len(inside) == 21


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 201])
def test_what_is_too_short_or_too_long_is_no_password(text: str) -> None:
    with pytest.raises(Invalid):
        check_form(text)
    check_form("x" * 12)
    check_form("x" * 200)
