"""Names are looked up beside the event loop: bounded in number, in time and for each organisation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

import towerlog.egress.lookups
from tests.support.wait import wait_until_async
from towerlog.egress.lookups import MAX_LOOKUPS, MAX_LOOKUPS_PER_ORG, Lookups, resolve_by_system
from towerlog.egress.outcomes import EgressError, EgressFailure

PORT = 443


class Slow:
    """A resolver that answers when it is let go, and counts who is inside."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.threads: set[int] = set()

    def __call__(self, name: str, port: int) -> Sequence[str]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.get_ident())
        if name.startswith("slow"):
            assert self.go.wait(60)
        with self.lock:
            self.inside -= 1
        return ["1.1.1.1"]


async def test_every_address_is_found_once_in_its_order() -> None:
    lookups = Lookups(lambda name, port: ["1.1.1.1", "2606:4700::1111", "1.1.1.1", "fe80::1%lo"])
    found = await lookups.find("a.example", PORT, "org")
    assert [str(address) for address in found] == ["1.1.1.1", "2606:4700::1111", "fe80::1"]


async def test_a_name_without_an_address_is_not_found() -> None:
    def unknown(name: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolve in (unknown, lambda name, port: []):
        with pytest.raises(EgressError, match="has no address") as caught:
            await Lookups(resolve).find("a.example", PORT, "org")
        assert caught.value.failure is EgressFailure.NOT_FOUND


async def test_the_loop_goes_on_meanwhile_and_nobody_remembers_an_answer() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    task = asyncio.create_task(lookups.find("slow.example", PORT, "org"))
    await wait_until_async(lambda: slow.inside, "the look-up in its thread")
    assert threading.get_ident() not in slow.threads
    slow.go.set()
    await task
    await lookups.find("slow.example", PORT, "org")
    assert slow.most == 1


async def test_one_organisation_has_a_few_places_and_leaves_the_others_theirs() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    greedy = [asyncio.create_task(lookups.find(f"slow{n}.example", PORT, "greedy")) for n in range(20)]
    await wait_until_async(lambda: slow.inside == MAX_LOOKUPS_PER_ORG, "the greedy one's places")
    await lookups.find("quick.example", PORT, "other")
    assert slow.inside == MAX_LOOKUPS_PER_ORG
    slow.go.set()
    await asyncio.gather(*greedy)
    assert slow.most <= MAX_LOOKUPS_PER_ORG + 1


async def test_all_organisations_together_have_a_bound() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    orgs = MAX_LOOKUPS // MAX_LOOKUPS_PER_ORG + 3
    tasks = [
        asyncio.create_task(lookups.find(f"slow{n}.example", PORT, f"org{org}"))
        for org in range(orgs)
        for n in range(MAX_LOOKUPS_PER_ORG)
    ]
    await wait_until_async(lambda: slow.inside == MAX_LOOKUPS, "all places")
    slow.go.set()
    await asyncio.gather(*tasks)
    assert slow.most == MAX_LOOKUPS


async def test_a_look_up_that_was_given_up_keeps_its_place_until_its_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(towerlog.egress.lookups, "LOOKUP_SECONDS", 0.1)
    slow = Slow()
    lookups = Lookups(slow)
    for number in range(MAX_LOOKUPS_PER_ORG + 2):
        with pytest.raises(EgressError, match="not looked up in time"):
            await lookups.find(f"slow{number}.example", PORT, "org")
    assert slow.inside == MAX_LOOKUPS_PER_ORG, "those that found no place did not begin"
    slow.go.set()
    await wait_until_async(lambda: not slow.inside, "the threads' end")
    monkeypatch.setattr(towerlog.egress.lookups, "LOOKUP_SECONDS", 60)
    for _ in range(2 * MAX_LOOKUPS_PER_ORG):
        await lookups.find("quick.example", PORT, "org")


async def test_who_is_cancelled_while_waiting_for_a_place_takes_none() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    tasks = [asyncio.create_task(lookups.find(f"slow{n}.example", PORT, "org")) for n in range(10)]
    await wait_until_async(lambda: slow.inside == MAX_LOOKUPS_PER_ORG, "the places")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    slow.go.set()
    await asyncio.gather(*(lookups.find(f"quick{n}.example", PORT, "org") for n in range(20)))
    assert slow.most == MAX_LOOKUPS_PER_ORG


def test_a_look_up_outlives_its_loop_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    slow = Slow()

    async def leave() -> None:
        task = asyncio.create_task(Lookups(slow).find("slow.example", PORT, "org"))
        await wait_until_async(lambda: slow.inside, "the look-up")
        task.cancel()

    asyncio.run(leave())
    slow.go.set()
    for thread in threading.enumerate():
        if thread.name == "towerlog-lookup":
            thread.join(60)
            assert not thread.is_alive()
    assert capfd.readouterr().err == ""


def test_the_system_knows_its_own_name() -> None:
    assert "127.0.0.1" in resolve_by_system("localhost", PORT) or "::1" in resolve_by_system("localhost", PORT)
