"""Restarts: what was acknowledged is there, whoever pulls the plug, and nothing needs a repair."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from tests.support.backends import Backend
from tests.support.factories import event, identity, run_changes, run_row
from tests.support.fakes import FakeClock, SeededIds
from tests.support.launcher import launch_python
from tests.support.lookups import looked_up
from tests.support.wait import wait_until
from towerlog.ambient import SystemClock
from towerlog.config import Settings
from towerlog.engine.audit.outside import clock_confirmed
from towerlog.engine.verify import verify_org
from towerlog.model.audit import SERVER, Action, AuditEntry, AuditFilter
from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing
from towerlog.storage import open_identities
from towerlog.store.base import Store
from towerlog.store.values import Kind

KILLS = 8


async def test_what_was_committed_is_there_after_closing(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    store = await backend.open(clock, ids)
    org = (await store.org_create(*identity(1))).org
    row = run_row(org=org, last_seq=1, last_position=1)
    async with store.begin() as unit:
        await unit.commit(run_changes(row, [event(1, 1, org=org)]))
    await store.close()
    again = await backend.open(clock, ids)
    assert again.epoch == store.epoch
    assert await again.run(org, row.run_id) == row
    assert len(await again.log(org, 0, 10)) == 1
    async with again.begin() as unit:
        assert (await looked_up(unit, Kind.COUNTERS, org))[org].position == 1
    await again.close()


async def test_everything_acknowledged_survives_kill(
    backend: Backend, backend_name: str, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """A process that appends is killed at random moments; each time the next opening finds all that it said."""
    store = await backend.open(clock, ids)
    org = (await store.org_create(*identity(1))).org
    await store.close()
    chance = random.Random(5)
    told: dict[str, tuple[int, int]] = {}
    for kill in range(KILLS):
        said = tmp_path / f"said-{kill}"
        await asyncio.to_thread(run_and_kill, backend_name, backend.location, said, chance.randrange(1, 40))
        lines = [line.split() for line in said.read_text().split("\n")[:-1]]
        told |= {event_id: (int(position), int(seq)) for event_id, position, seq in lines}
        store = await backend.open(clock, ids)
        await check_log(store, org, told)
        await store.close()
    assert len(told) > KILLS


def run_and_kill(backend_name: str, location: str, said: Path, lines: int) -> None:
    """Starts the appender, waits for so many acknowledgements, kills it in the middle of what it does."""
    code = "from tests.contract.appender import program; program()"
    with said.open("wb") as out:
        process = launch_python(code, [backend_name, location, "run"], os.environ, out.fileno(), 2)
    try:
        wait_until(
            lambda: process.poll() is not None or said.read_bytes().count(b"\n") >= lines,
            f"{lines} acknowledgements",
        )
        assert process.poll() is None, "the appender ended by itself"
    finally:
        process.kill()
        process.wait()


async def check_log(store: Store, org: int, told: dict[str, tuple[int, int]]) -> None:
    """All that was told is there at its place, nothing has a hole, and the projections follow from the log."""
    log = await store.log(org, 0, 1_000_000)
    assert [one.position for one in log] == list(range(1, len(log) + 1))
    assert [one.seq for one in log] == list(range(1, len(log) + 1))
    found = {one.event_id: (one.position, one.seq) for one in log}
    assert len(found) == len(log), "an event was stored twice"
    lost = {event_id: place for event_id, place in told.items() if found.get(event_id) != place}
    assert lost == {}, f"{len(lost)} acknowledged events are lost"
    complaints: list[str] = []
    assert await verify_org(store, org, complaints.append) == 0, complaints


async def test_the_age_clock_is_kept(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    store = await backend.open(clock, ids)
    assert await store.age_kept() == (None, None)
    org = (await store.org_create(*identity(1))).org
    assert await store.age_kept() == (None, None)
    row = run_row(org=org, last_seq=2, last_position=2)
    events = [event(number, number, org=org) for number in (1, 2)]
    async with store.begin() as unit:
        await unit.commit(run_changes(row, events))
    for state in ('{"now_ms":1}', '{"now_ms":2}'):
        await store.age_keep(state)
    assert await store.age_kept() == ('{"now_ms":2}', events[-1].recorded_at)
    await store.close()
    again = await backend.open(clock, ids)
    assert await again.age_kept() == ('{"now_ms":2}', events[-1].recorded_at)
    await again.close()


async def test_the_word_of_an_operator_about_the_clock_is_kept(
    backend: Backend, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """It is written beside a server, with an entry in the audit of each organisation."""
    store = await backend.open(clock, ids)
    assert await store.age_confirmed() is None
    orgs = [await store.org_create(*identity(number, name=f"org {number}")) for number in (1, 2)]
    told = [clock_confirmed(SERVER, org, 1000, 500) for org in orgs]
    for word in ("first", "last"):
        await asyncio.to_thread(_confirmed_beside, backend, tmp_path, word, told if word == "last" else [])
    assert await store.age_confirmed() == "last"
    for org in orgs:
        [row], _ = await store.audit(org.org, AuditFilter(action=Action.CLOCK_CONFIRM.value), 10, None)
        assert (row.entry.at, bytes(row.entry.before)) == (1000, b'{"clock":"1970-01-01T00:00:00.500Z"}')
    await store.close()


def _confirmed_beside(backend: Backend, folder: Path, word: str, told: list[AuditEntry]) -> None:
    url = backend.location if "://" in backend.location else f"sqlite:///{backend.location}"
    settings = Settings(data_dir=str(folder), database_url=url)
    identities, _ = asyncio.run(open_identities(settings, SystemClock(), SeededIds(7)))
    try:
        identities.clock_confirm(word, told)
    finally:
        identities.close()


async def test_what_is_left_to_wipe_is_kept_until_all_of_it_was_gone_over(
    backend: Backend, clock: FakeClock, ids: SeededIds
) -> None:
    store = await backend.make().open(clock, ids)
    org = (await store.org_create(*identity(1))).org
    row = run_row(org=org, last_seq=1, last_position=1)
    async with store.begin() as unit:
        changes = run_changes(row, [event(1, 1, org=org)])
        changes.erasing.append(Erasing(row.run, org, Erases.DELTAS, 1, row.run_id))
        await unit.commit(changes)
    assert await store.unwiped() == 0
    async with store.begin() as unit:
        await unit.erase(row.run)
    before = await store.unwiped()
    assert before > 0
    await store.wiped(before - 1)
    await store.close()
    again = await backend.open(clock, ids)
    assert await again.unwiped() == before, "some of it was not gone over"
    await again.wiped(before)
    assert await again.unwiped() == 0
    await again.close()


async def test_how_far_it_was_forwarded_is_kept(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    """From where it was first begun, and an organisation that comes later from its beginning."""
    store = await backend.open(clock, ids)
    first, second = [(await store.org_create(*identity(number, name=f"o{number}"))).org for number in (1, 2)]

    async def write(org: int, number: int) -> None:
        row = run_row(number, org=org, last_seq=1, last_position=number)
        async with store.begin() as unit:
            await unit.commit(run_changes(row, [event(number, 1, org=org, run=number)]))

    await write(first, 1)
    await store.forwarding_begin()
    assert await store.forwarding_waits(-1, 10) == []
    await write(first, 2)
    await write(second, 1)
    assert await store.forwarding_waits(-1, 10) == sorted([(first, 1, 2), (second, 0, 1)])
    assert await store.forwarding_waits(-1, 1) == sorted([(first, 1, 2), (second, 0, 1)])[:1]
    assert await store.forwarding_waits(max(first, second), 10) == []
    await store.forwarding_keep(first, 2)
    third = (await store.org_create(*identity(3, name="o3"))).org
    await write(third, 1)
    await store.close()
    again = await backend.open(clock, ids)
    await again.forwarding_begin()
    assert await again.forwarding_waits(-1, 10) == sorted([(second, 0, 1), (third, 0, 1)])
    await again.close()
