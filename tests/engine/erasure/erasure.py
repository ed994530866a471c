"""What tests of erasure share: stories with a word to look for, what must stay, and where the word is in the files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.support.rig import Rig
from towerlog.engine.timers.retention import ON_ITS_WAY_MS, OVER_MS
from towerlog.errors import RunNotActive
from towerlog.model import command as c
from towerlog.model.event import Draft, History
from towerlog.model.facts import with_effects
from towerlog.model.principal import Principal
from towerlog.store.sqlite.upkeep import matching_files

_replace = msgspec.structs.replace


def marked(story: list[tuple[str, Any]], word: str) -> list[tuple[str, Any]]:
    """The story with the word in every text that is sent in."""
    return [(act, [_marked(one, word) for one in detail] if act == "append" else detail) for act, detail in story]


def _marked(item: object, word: str) -> object:
    if not isinstance(item, Draft):
        return item
    data = msgspec.json.decode(item.data) | {"text": word * 3, "input": word, "question": word, "reason": word}
    facts = item.facts
    facts = _replace(
        facts,
        **{name: word + text for name in ("name", "tool", "error", "question") if (text := getattr(facts, name))},
    )
    if facts.effects is not None and facts.effects.metadata is not msgspec.UNSET:
        facts = with_effects(facts, metadata=msgspec.Raw(msgspec.json.encode({"k": word})))
    history = item.history
    if isinstance(history, History):
        history = History(
            [msgspec.json.encode({"m": word, "n": bytes(one).decode()}) for one in history.messages], None
        )
    return _replace(item, data=msgspec.json.encode(data), facts=facts, history=history)


async def cancelled_all(rig: Rig, who: Principal) -> None:
    """Ends every run that is open."""
    for row in (await rig.store.rows(who.org)).runs:
        if not row.is_terminal():
            with suppress(RunNotActive):  # it has ended with its parent
                await rig.do(c.KillRun(row.run_id), principal=who)


async def figures(rig: Rig, who: Principal) -> dict[str, Any]:
    """What an erasure must leave: what runs have cost, when they were, and what agents and hours add up to."""
    rows = await rig.store.rows(who.org)
    totals: dict[str, int] = {}
    for cell in rows.usage:
        for name, figure in msgspec.structs.asdict(cell.usage).items():
            totals[name] = totals.get(name, 0) + (figure or 0)
    return {
        "runs": [
            (row.run_id, row.status, row.usage, row.shares, row.agent, row.model, row.span(), row.late_events)
            for row in rows.runs
        ],
        "agents": [(row.name, row.run_count, row.error_count, row.usage) for row in rows.agents],
        "usage": totals,
        "ended": sum(cell.runs_ended for cell in rows.usage),
    }


async def keep(rig: Rig) -> None:
    """All that retention does after an erasure, and the log moved into the database."""
    await rig.engine.services.retention.sweep()
    rig.clock.advance(ON_ITS_WAY_MS)
    await rig.engine.services.retention.sweep()
    rig.clock.advance(OVER_MS)
    async with rig.store.begin():
        await rig.store.writer.call(matching_files.renew_log, "test.1")


def marks_in_files(path: Path, word: str) -> list[tuple[str, int]]:
    """Where the word stands in the files of the store."""
    found = []
    for file in path.parent.iterdir():
        data = file.read_bytes() if file.is_file() else b""
        at = data.find(word.encode())
        while at >= 0:
            found.append((file.name, at))
            at = data.find(word.encode(), at + 1)
    return found
