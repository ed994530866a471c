"""The row of a run has at most MAX_ROW_BYTES, whatever its senders and people say of it, on each backend."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from tests.dialects.otlp.test_dialect import decode
from tests.support.backends import FRESH
from tests.support.factories import draft
from tests.support.otlp import Json, span, traces
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.native.client_events import client_draft
from towerlog.dialects.native.event_json import ReportedEvent
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.errors import Conflict
from towerlog.model import command as c
from towerlog.model.event import Draft, RunById
from towerlog.model.event import EventType as E
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import Stored
from towerlog.model.pending import MAX_MESSAGES
from towerlog.model.row_bounds import ASKED_BYTES, MAX_ROW_BYTES, kept_bytes
from towerlog.model.run import MAX_METADATA_BYTES, RunRow
from towerlog.model.spending import AGENTS_RETIRED
from towerlog.model.usage import Usage, UsageReport

PAIR = "\U0001f4bc"
MODEL = "\x01" * 199 + "m"
PRICES = FixedPrices({MODEL: card(1, 2)})
FIGURES: Json = {"gen_ai__usage__input_tokens": 2**40, "gen_ai__usage__output_tokens": 2**40}


@pytest.fixture(params=sorted(FRESH))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, backend=FRESH[request.param](tmp_path), prices=PRICES) as opened:
        yield opened


def long_name(number: int) -> str:
    return f"{number}".ljust(200, PAIR)


def stored_bytes(row: RunRow) -> int:
    return len(msgspec.json.encode(row))


def chat(number: int) -> Json:
    """A model call of an agent of its own, below a span that has not come."""
    named: Json = {"gen_ai__agent__name": long_name(number), "gen_ai__provider__name": PAIR * 200}
    model: Json = {"gen_ai__operation__name": "chat", "gen_ai__request__model": f"{number}".rjust(200, PAIR)}
    return span(number, 10_000 + number, **named, **model, **FIGURES)


class Sender:
    """A program that reports a run through the native API."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._ids = itertools.count()

    def event(self, kind: str, client_id: str | None = None, **event: Any) -> Draft:
        whole = {"event_id": f"e{next(self._ids)}", "type": kind, **event}
        read = msgspec.json.decode(msgspec.json.encode(whole), type=ReportedEvent)
        return client_draft(read, 0, RunById(self.run_id), client_id, DialectSettings(), [])

    def call(self, number: int) -> Draft:
        data = {"tool": '"' * 200, "tool_call_id": f"{number}".ljust(190, PAIR)}
        return self.event("tool.call", data=data)

    def metadata(self) -> Draft:
        return self.event("run.started", data={"metadata": {"m": "\\" * (MAX_METADATA_BYTES // 2 - 10)}})

    def numbered(self, client: int) -> list[Draft]:
        """Events of a client that leaves holes."""
        name = f"client-{client}".ljust(128, '"')
        return [self.event("step", name, client_seq=seq, data={"name": "s"}) for seq in (1, 3, 2**40, 2**53)]

    def spent(self, number: int) -> Draft:
        model = MODEL if number % 2 else f"{number}".rjust(200, "\x02")
        figures = {"input_tokens": 2**40, "output_tokens": number}
        return self.event("model.call", agent=long_name(number), data={"model": model, **figures})

    def total(self, number: int) -> Draft:
        """What an agent has used so far, with all figures."""
        report = UsageReport(Usage(2**40, 2**39, 2**38, 2**40, 2**38))
        facts = Facts(effects=Effects(report=report, model=MODEL))
        return draft(E.OTHER, RunById(self.run_id), agent=long_name(200 + number), facts=facts)

    def question(self, number: int) -> Draft:
        key = f"{number}".ljust(120, "k")
        return self.event("run.waiting_for_input", data={"question": "\x01" * 1990, "question_key": key})

    def batches(self) -> Iterator[list[Draft]]:
        """Everything that a sender may say at length."""
        yield [self.call(number) for number in range(96)]
        yield [self.metadata()]
        for client in range(40):
            yield self.numbered(client)
        yield [self.spent(number) for number in range(90)]
        yield [self.total(number) for number in range(60)]
        yield [self.question(number) for number in range(40)]


async def fill(rig: Rig) -> str:
    """A run of which all of this is told; its row is measured after each commit."""
    command = decode(traces(*map(chat, range(1, 41)), service=PAIR * 200))
    [run_id] = {one.run_id for one in (await rig.do(command, dialect="otlp")).results if isinstance(one, Stored)}
    for batch in Sender(run_id).batches():
        await rig.append(*batch)
        assert stored_bytes(await rig.run(run_id)) <= MAX_ROW_BYTES
    row = await rig.run(run_id)
    assert ASKED_BYTES - 1500 < kept_bytes(row) <= ASKED_BYTES
    for _ in range(20):
        await given(rig, run_id, "message", "\x01" * 699 + "m")
        for asked in (await rig.run(run_id)).questions[:1]:
            await given(rig, run_id, None, "\x01" * 699 + "a", asked.question_id)
    return run_id


async def given(
    rig: Rig, run_id: str, kind: Literal["message"] | None, content: str, question_id: int | None = None
) -> None:
    """A message or an answer, which may find no room."""
    with contextlib.suppress(Conflict):
        await rig.do(c.GiveInput(run_id, content, question_id, type=kind))
    assert stored_bytes(await rig.run(run_id)) <= MAX_ROW_BYTES


@pytest.mark.every_value
async def test_a_row_is_bounded_in_bytes_whatever_is_said_and_its_rebuild_is_the_same(rig: Rig) -> None:
    run_id = await fill(rig)
    row = await rig.run(run_id)
    assert stored_bytes(row) > 0.6 * MAX_ROW_BYTES
    waiting = [one.type for one in row.pending]
    assert waiting.count("message") == MAX_MESSAGES, "there is room for these in any case"
    assert waiting.count("input") > 1, "and for answers to what is asked"
    assert len(bytes(row.metadata)) > MAX_METADATA_BYTES - 100
    assert row.uncounted_clients
    assert AGENTS_RETIRED in row.usage_flags
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    await rig.engine.stop()
    await rebuild_org(rig.store, rig.org)
    assert await rig.run(run_id) == row
    await rig.engine.start()
    # Nothing of what has given way is counted twice, and nothing is lost.
    calls = sum(2**40 for _ in range(40)) + 90 * 2**40
    totals = 60 * (2**40 + 2**39 + 2**38)
    assert row.usage.all_input_tokens() == calls + totals
