"""The laws of lanes, read from the log alone: they hold whatever the model thinks of the answers."""

from __future__ import annotations

from collections import Counter

import msgspec

from tests.simulation.world import ANY, World
from towerlog.engine.verify import verify_org
from towerlog.model.event import TARGET_STATUS, Event, EventType
from towerlog.model.facts import NO_EFFECTS
from towerlog.model.lane import MAX_ATTEMPTS
from towerlog.model.question import RunFilter
from towerlog.model.run import TERMINAL, RunRow, Status


class _Marked(msgspec.Struct):
    marker: str | None = None
    content: str | None = None
    question_id: int | None = None


_decode = msgspec.json.Decoder(_Marked).decode


async def check_laws(world: World) -> None:
    """Everything that can be told from what is stored."""
    complaints: list[str] = []
    assert await verify_org(world.store, world.org, complaints.append) == 0, complaints
    log = await world.store.log(world.org, 0, 100_000)
    assert [event.position for event in log] == list(range(1, len(log) + 1)), "positions have a hole"
    for row in await world.store.runs(world.org, RunFilter(), 1000, None):
        events = [event for event in log if event.run == row.run]
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), "seq has a hole"
        check_holders(events)
        check_end(events)
        check_commands(row, events)
        check_questions(events)
        check_foreign(world, row, events)
        await check_markers(world, row, events)


def check_holders(events: list[Event]) -> None:
    """Claims are numbered 1, 2, 3 …; each but the first follows the loss or the release of the one before, or is the
    holder's own."""
    epoch, held, holder = 0, False, None
    for event in events:
        lane = event.effects.lane
        if event.type is EventType.LANE_CLAIMED:
            assert lane is not None
            assert not held or lane.worker_id == holder, "claimed from under its holder"
            assert lane.epoch == epoch + 1, "an epoch came twice, or one was left out"
            assert 1 <= lane.attempt <= MAX_ATTEMPTS, "too many attempts"
            assert not event.late, "claimed after the end"
            epoch, held, holder = lane.epoch, True, lane.worker_id
        elif event.type in (EventType.LANE_LOST, EventType.LANE_RELEASED):
            assert lane is not None
            assert (held, lane.epoch) == (True, epoch), "lost or released by who did not hold it"
            held = False
        if event.type is EventType.RUN_LOST:
            lost = sum(one.type is EventType.LANE_LOST for one in events)
            assert not held, "given up while it was held"
            assert lost >= MAX_ATTEMPTS, "given up too early"


def check_end(events: list[Event]) -> None:
    """One terminal event, and nothing after it that is not marked."""
    ends = [event for event in events if TARGET_STATUS.get(event.type) in TERMINAL and not event.late]
    assert len(ends) == 1, f"{len(ends)} ends"
    assert all(event.late == (event.seq > ends[0].seq) for event in events), "late is what comes after the end"


def check_commands(row: RunRow, events: list[Event]) -> None:
    """A command is delivered at most once, after it was asked for; a cancel's stages come in their order.

    A claim asks once more for a pause that the attempt before had taken.
    """
    asked = {event.seq: event.effects.requests for event in events if event.effects.requests is not None}
    first_pause = min((seq for seq, kind in asked.items() if kind == "pause"), default=None)
    claimed = [event.seq for event in events if event.type is EventType.LANE_CLAIMED]
    asked_again = [seq for seq in claimed if first_pause is not None and seq > first_pause]
    delivered = [event for event in events if event.type is EventType.COMMAND_DELIVERED]
    assert len({event.effects.delivers for event in delivered}) == len(delivered), "delivered twice"
    for event in delivered:
        command = event.effects.delivers or 0
        assert command in asked or command in asked_again, "delivered what nobody asked for"
        assert command < event.seq, "delivered before it was asked for"
        assert not event.late, "delivered after the end"
    assert list(asked.values()).count("cancel") <= 1, "asked for its end twice"
    if "cancel" not in asked.values():
        assert (row.status, row.cancel_requested_at) != (Status.CANCELLED, None), "cancelled and nobody wanted it"
        return
    seqs = [seq for seq, kind in asked.items() if kind == "cancel"]
    told = [event.seq for event in delivered if event.effects.delivers in seqs]
    taken = [
        event.seq
        for event in events
        if event.effects.acknowledges == "cancel" and seqs[0] < event.seq and not event.late
    ]
    stages = [*seqs, *told, *taken[:1], row.ended_seq or 0]
    assert stages == sorted(stages), "the stages of a cancel are out of order"
    assert (row.cancel_delivered_at is not None) == bool(told)


def check_questions(events: list[Event]) -> None:
    """An answer reaches the question that its sender meant, while that was open, and no question gets two."""
    asked = {event.seq: _decode(event.data).marker for event in events if event.type is EventType.RUN_WAITING}
    closed: set[int] = set()
    for event in events:
        effects = event.effects
        if event.type is EventType.RUN_WAITING:
            asked_id = _decode(event.data).question_id
            assert asked_id == (effects.question_id or event.seq), "a question is called otherwise than it is"
            assert asked_id in asked, "asked again what nobody had asked"
        elif event.type is EventType.RUN_INPUT and effects.requests == "input":
            question_id, meant = effects.question_id or 0, _decode(event.data).content
            assert question_id in asked, "an answer to nothing that was asked"
            assert question_id < event.seq, "answered before it was asked"
            assert question_id not in closed, "answered twice"
            assert meant in (asked[question_id], ANY), "the answer to one question reached another"
            closed.add(question_id)


def check_foreign(world: World, row: RunRow, events: list[Event]) -> None:
    """What a stranger said of a held run is kept in a form that no fold acts on; nothing else is flagged."""
    foreign = [event for event in events if event.facts.foreign]
    assert [_decode(event.data).marker for event in foreign] == world.model.runs[row.run_id].foreign, "flags"
    for event in foreign:
        told = msgspec.structs.replace(event.effects, report=None, model=None, provider=None, priced=None)
        assert (event.type, told) == (EventType.OTHER, NO_EFFECTS), "a stranger's word has an effect"


async def check_markers(world: World, row: RunRow, events: list[Event]) -> None:
    """What was accepted is in the log once; what was refused is beside it, and never both by accident."""
    run = world.model.runs[row.run_id]
    logged = Counter(marker for event in events if (marker := _decode(event.data).marker) is not None)
    assert logged == Counter(run.kept), "the log holds something else than was accepted"
    beside = await world.store.quarantined(world.org, row.run, 10_000, 0)
    assert sorted(_decode(item.data).marker for _, item in beside) == sorted(set(run.refused)), "quarantine"
