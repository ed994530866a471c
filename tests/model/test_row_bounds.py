"""The bytes of a run's row: each part has its room, and what may be forgotten gives way where all is too long."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import pytest

from tests.support.factories import run_row
from towerlog.model.agent_share import AgentShare
from towerlog.model.approval import ClosedQuestion, OnExpiry, OpenQuestion, Risk, Terms
from towerlog.model.assumed import AssumedCell
from towerlog.model.computed_costs import Computed, ComputedCell, ToldTotal
from towerlog.model.dormant import MAX_DIGESTS, Dormant
from towerlog.model.ledger import MAX_ALL_RANGES, MAX_CLIENTS, MAX_CLIENTS_BYTES, Ledger, put
from towerlog.model.packed_share import points_in
from towerlog.model.pending import MAX_MESSAGES, Pending, text_bytes
from towerlog.model.row_bounds import (
    ANSWER_BYTES,
    ASKED_BYTES,
    FITTED_BYTES,
    KEPT_BYTES,
    MAX_ANSWERED_BY_BYTES,
    MAX_ERROR_BYTES,
    MAX_HEAD_BYTES,
    MAX_PHASE_BYTES,
    MAX_REASON_BYTES,
    MAX_ROW_BYTES,
    MAX_SHARE_BYTES,
    MESSAGE_BYTES,
    ROOM_OF,
    clipped,
    fitted,
    has_room_for_cell,
    kept_bytes,
    newest_tools,
    question_bytes,
)
from towerlog.model.run import (
    MAX_COMMAND_IDS,
    MAX_METADATA_BYTES,
    MAX_OPEN_TOOL_BYTES,
    MAX_OPEN_TOOLS,
    MAX_QUESTION_BYTES,
    MAX_UNPLACED_BYTES,
    ForkedFrom,
    OpenTool,
    RunRow,
    Status,
)
from towerlog.model.running_totals import MAX_POINTS_BYTES, NO_SIDES, Level, Point, RunningTotals, Sides
from towerlog.model.span import ALL_GONE, BelowSpan, ToldCall, ToldCalls
from towerlog.model.spending import (
    AGENTS_RETIRED,
    COMPUTED_KEPT,
    TOTAL_DECREASED,
    Spending,
)
from towerlog.model.usage import MAX_SUM, Usage, UsageReport

NAME = "\U0001f4bc" * 200
"""A name of an agent, an id: 200 characters, none of them a control character."""
LABEL = "\x01" * 200
"""A name of a model or a provider: any 200 characters."""
PLACE = 2**40
"""A seq, a position."""
TIME = 10**13 - 1
UUID = "0" * 36
TERMS = Terms(Risk.CRITICAL, 366 * 24 * 3600 * 1000, TIME, OnExpiry.CANCEL, True)
MOST = Usage(*[MAX_SUM] * 9)
MUCH = Computed(MAX_SUM, PLACE)
SIDES = Sides(MAX_SUM, MAX_SUM)
POINT = Point(MAX_SUM, PLACE, 7, PLACE, *[MAX_SUM] * 5)
RUNNING = RunningTotals(Level(MAX_SUM, PLACE, MOST, SIDES, MOST), (POINT,) * 2)
SHARE = AgentShare(
    increments=MOST, totals=MOST, sides=SIDES, rest=MOST, turn=MOST, running=RUNNING, model=LABEL,
    several_models=True, step_index=PLACE, awaited_step=PLACE, computed=MUCH, computed_total=MUCH,
)  # fmt: skip
ORDERS = (
    Pending(PLACE, "cancel", "\x01" * (MAX_REASON_BYTES // 6), delivered=True),
    Pending(PLACE, "resume", "\x01" * (MAX_REASON_BYTES // 6), delivered=True, budget_id=UUID),
)
HEAD: dict[str, Any] = {
    **dict.fromkeys(("run", "org"), 2**62),
    **dict.fromkeys(("run_id", "created_by", "reporter_key", "resumed_from", "retry_of"), UUID),
    **dict.fromkeys(("thread_id", "agent", "was_agent", "route_id"), NAME),
    **dict.fromkeys(("model", "first_model"), LABEL),
    **dict.fromkeys(("last_seq", "last_position", "named_seq", "ended_seq", "ended_position", "usage_seq"), PLACE),
    **dict.fromkeys(("erased_seq", "late_events", "rate_limited", "asking_epoch", "lease_epoch", "attempt"), PLACE),
    **dict.fromkeys(("created_at", "last_event_at", "started_at", "start_told_at", "ended_at", "end_told_at"), TIME),
    **dict.fromkeys(("process_at", "progress_at", "output_at", "expected_at", "seen_at", "silent_at"), TIME),
    **dict.fromkeys(("cancel_requested_at", "cancel_delivered_at", "cancel_acknowledged_at"), TIME),
    **dict.fromkeys(("deltas_erased_at", "checkpoints_erased_at", "events_erased_at"), TIME),
    **dict.fromkeys(("implicit", "composite", "started_again", "assumed_agent", "unnamed_thread", "has_lane"), True),
    **dict.fromkeys(("awaits_approval", "forced", "sends_heartbeats", "idle", "uncounted_clients"), True),
    **dict.fromkeys(("usage", "run_total", "run_rest"), MOST),
    "trace_id": "0" * 32,  # that of a sender is as long as a name; then there is no foreign id
    "persona_id": "\U0001f4bc" * 120 + "@" + "v" * 64,
    "foreign_id": "checkpoints:" + NAME,
    "parent_key": "foreign:checkpoints:" + NAME,
    "status": Status.BUDGET_EXCEEDED,
    "source": "checkpoints",
    "last_hash": b"\xff" * 32,
    # These are there while there is no `was_agent` or no model, which are longer.
    **dict.fromkeys(("began_cell", "start_cell", "end_cell"), None),
    "forked_from": ForkedFrom(UUID, PLACE, NAME),
    "run_sides": Sides(MAX_SUM, MAX_SUM),
    "process_cost": MAX_SUM,
    "computed_total": MUCH,
    "retired": AgentShare(MOST, step_index=PLACE, step_agent=NAME, computed=MUCH, forgotten="totals"),
    "usage_flags": (AGENTS_RETIRED, "calls_forgotten", COMPUTED_KEPT, TOTAL_DECREASED),
    "price_version": "v" * 100,
    "process": NAME + "#" + "0" * 32,
    "error": None,  # comes with the end: see `test_an_error_has_the_room_of_what_an_end_takes_away`
    "phase": "\x01" * (MAX_PHASE_BYTES // 6),
    "cancel_reason": "\x01" * (MAX_REASON_BYTES // 6),
    "command_ids": (PLACE,) * MAX_COMMAND_IDS,
    "pause_taken": Pending(PLACE, "pause", "\x01" * (MAX_REASON_BYTES // 6), delivered=True, budget_id=UUID),
}
"""Each member of the head as long as it may be. A new member of the row stands here, or among those below."""
HAS_ROOM = ("open_tools", "clients", "unplaced")
KEPT = ("metadata", "questions", "pending")
GIVES_WAY = ("told_totals", "assumed_cells", "computed_cells", "closed_questions", "calls", "dormant", "shares")
LISTS = (*HAS_ROOM, *KEPT, *GIVES_WAY)


def size(value: object) -> int:
    return len(msgspec.json.encode(value))


REPORTED: dict[str, Any] = dict.fromkeys(("persona_id", "route_id", "retry_of", "forked_from"))
"""What a run does not have that its sender has named."""
CREATED: dict[str, Any] = {"foreign_id": None, "parent_key": "run:" + UUID, "was_agent": "default"}
"""What one has instead that was made here."""


def longest(**members: Any) -> RunRow:
    return RunRow(**{**HEAD, **REPORTED, **members})


def test_the_parts_of_a_row_add_up_to_what_it_may_have() -> None:
    assert sum(ROOM_OF.values()) + KEPT_BYTES == MAX_ROW_BYTES == 64 * 1024
    assert KEPT_BYTES >= MAX_METADATA_BYTES + MAX_ERROR_BYTES
    key = 6 * 128
    asked = OpenQuestion(PLACE, TIME, None, "", 10**6, PLACE, None, "0" * 24, TERMS, TIME, first_epoch=10**6)
    assert MAX_METADATA_BYTES + MAX_QUESTION_BYTES + question_bytes(asked) + key <= ASKED_BYTES, "one can be asked"
    least = question_bytes(OpenQuestion(1, TIME, "?", "", 0, 1, words="0" * 24))
    assert ASKED_BYTES + MAX_MESSAGES * MESSAGE_BYTES + ANSWER_BYTES + key - least <= KEPT_BYTES, "and answered"


def test_each_member_belongs_to_one_part() -> None:
    assert sorted([*HEAD, *LISTS]) == sorted(RunRow.__struct_fields__)


def test_no_head_is_longer_than_its_room() -> None:
    empty = [f'"{name}":[],' for name in LISTS]
    for kind in (REPORTED, CREATED):
        assert size(RunRow(**{**HEAD, **kind}, pending=ORDERS)) + len("".join(empty)) <= MAX_HEAD_BYTES
    cell = (PLACE, NAME, Status.BUDGET_EXCEEDED.value)
    instead = {"began_cell": cell, "was_agent": None, "start_cell": cell, "end_cell": cell}
    assert size(longest(**instead, model=None, first_model=None)) <= size(longest())
    assert size(longest(trace_id=NAME, foreign_id=None)) <= size(longest())


def test_an_error_has_the_room_of_what_an_end_takes_away() -> None:
    row = longest(error="\x01" * (MAX_ERROR_BYTES // 6), pause_taken=None, metadata=metadata(MAX_METADATA_BYTES))
    assert size(row) <= MAX_HEAD_BYTES + KEPT_BYTES


def test_one_agents_share_has_room() -> None:
    more = msgspec.structs.replace(RUNNING, points=(*RUNNING.points, POINT))
    assert size((RUNNING,)) <= MAX_POINTS_BYTES < size((more,)), "no more of them than that"
    assert size({"shares": {NAME: SHARE}}) <= MAX_SHARE_BYTES


def metadata(length: int) -> msgspec.Raw:
    return msgspec.Raw(b'{"a":"%s"}' % (b"m" * (length - 8)))


# What has a room of its own


def test_open_calls_have_a_room_of_their_own() -> None:
    calls: tuple[OpenTool, ...] = ()
    for number in range(2 * MAX_OPEN_TOOLS):
        name = (LABEL, NAME, "t")[number % 3]
        calls = newest_tools((*calls, OpenTool(name, f"{number}" + name[:190], TIME, TIME, True))[-MAX_OPEN_TOOLS:])
        assert calls[-1].call_id.startswith(f"{number}")
        assert size({"open_tools": calls}) <= MAX_OPEN_TOOL_BYTES


def test_cells_without_a_model_have_a_room_of_their_own() -> None:
    unplaced: tuple[tuple[int, str, str, int], ...] = ()
    for number in range(40):
        agent = f"{number}" + NAME[: 198 if number % 2 else 10]
        if has_room_for_cell(unplaced, agent):
            unplaced = (*unplaced, (PLACE, agent, Status.BUDGET_EXCEEDED.value, PLACE))
        assert size({"unplaced": unplaced}) <= MAX_UNPLACED_BYTES
    assert len(unplaced) > 1


def test_ledgers_have_a_room_of_their_own() -> None:
    """Also where all of them grow once they are known: what finds no room leaves them as they were."""
    ledgers: dict[str, Ledger] = {}
    key = UUID
    for number in range(MAX_CLIENTS):
        put(ledgers, f'{number}"'.ljust(128, '"'), Ledger(key=key).with_received(1))
        assert size({"clients": ledgers}) <= MAX_CLIENTS_BYTES
    assert 4 < len(ledgers) < MAX_CLIENTS
    for name in list(ledgers):
        for hole in (3, 10**6, 2**53 - 3, 2**53):
            before = ledgers[name]
            if not put(ledgers, name, before.with_received(hole).with_dropped(5, 6)):
                assert ledgers[name] is before
            assert size({"clients": ledgers}) <= MAX_CLIENTS_BYTES


def test_ledgers_of_usual_clients_are_all_kept() -> None:
    ledgers: dict[str, Ledger] = {}
    for number in range(MAX_CLIENTS):
        assert put(ledgers, f"{number:036}", Ledger().with_all_received(1, 1000))
    holes = Ledger()
    for number in range(1, MAX_ALL_RANGES // 2, 2):
        holes = holes.with_received(number)
    few = dict(list(ledgers.items())[:8])
    assert put(few, "one more", holes)
    assert few["one more"] is holes


# What is kept


def test_what_is_kept_is_counted_as_long_as_it_may_become() -> None:
    words = "0" * 24
    asked = OpenQuestion(1, TIME, "why?", "k", 1, 1, None, words, TERMS, TIME, first_epoch=1)
    later = msgspec.structs.replace(
        asked, told_seq=PLACE, again_seq=PLACE, expired=True, epoch=10**6, first_epoch=10**6
    )
    assert size(later) + 1 <= question_bytes(asked)
    row = run_row(questions=(asked,), metadata=metadata(1000))
    assert kept_bytes(row) == 1000 + question_bytes(asked)
    given = Pending(PLACE, "input", "a" * 62, False, PLACE, "k")
    by = "\x01" * (MAX_ANSWERED_BY_BYTES // 6)
    closed = ClosedQuestion(PLACE, TIME, "k", by, told_seq=PLACE, words=words, closed_seq=PLACE, epoch=9, first_epoch=9)
    more = ANSWER_BYTES + 2 * text_bytes("k")
    answered = msgspec.structs.replace(row, questions=(), pending=(given,), closed_questions=(closed,))
    assert kept_bytes(answered) <= 1000 + more
    told = msgspec.structs.replace(given, delivered=True)
    left = msgspec.structs.replace(closed, withdrawn=True, epoch=10**6)
    assert size((told, left)) <= kept_bytes(answered) - 1000
    message = run_row(pending=(Pending(PLACE, "message", "m" * 62),))
    assert kept_bytes(message) <= MESSAGE_BYTES + 2


@pytest.mark.parametrize(
    ("text", "most", "found"),
    [
        ("short", 600, "short"),
        ("a" * 600, 600, "a" * 600),
        ("a" * 601, 600, "a" * 597 + "…"),
        ("ü" * 301, 600, "ü" * 298 + "…"),
        ("\x01" * 101, 600, "\x01" * 99 + "…"),
        ('"' * 400, 600, '"' * 298 + "…"),
    ],
)
def test_a_text_is_cut_by_its_bytes(text: str, most: int, found: str) -> None:
    assert clipped(text, most) == found
    assert text_bytes(found) <= most


# What gives way

CALLS = ToldCalls(
    tuple(
        ToldCall(f"{n:016x}", f"{n:016x}", MOST, MOST, None, None, NAME, LABEL, LABEL, "running", TIME, TIME)
        for n in range(32)
    ),
    tuple(BelowSpan(f"{n:016x}", MOST) for n in range(100, 164)),
    bytes(8 * 512),
)
DORMANT = functools.reduce(lambda known, n: known.with_share(f"dormant {n}", SHARE), range(60), Dormant())
GIVEN: dict[str, Any] = {
    "told_totals": tuple(
        ToldTotal(f"{n}" + NAME[:190], True, PLACE, LABEL, "running", LABEL, LABEL, TIME, TIME, MOST, MAX_SUM, PLACE)
        for n in range(64)
    ),
    "assumed_cells": tuple(AssumedCell(n, LABEL, "running", TIME, MOST, "v" * 100) for n in range(64)),
    "computed_cells": tuple(ComputedCell(n, NAME, LABEL, "running", MAX_SUM, PLACE, TIME) for n in range(64)),
    "closed_questions": tuple(ClosedQuestion(n, TIME, "k" * 128, "b" * 600) for n in range(1000, 1032)),
    "calls": CALLS,
    "dormant": DORMANT,
    "shares": {f"{n}" + NAME[:190]: SHARE for n in range(40)},
}


def full() -> RunRow:
    """A row with every part at its bound at once, and far more of what may give way."""
    questions: tuple[OpenQuestion, ...] = ()
    row = longest(metadata=metadata(MAX_METADATA_BYTES), error=None)
    while kept_bytes(row) + 1000 < KEPT_BYTES:
        questions = (*questions, OpenQuestion(len(questions) + 1, TIME, "q" * 60, "k" * 128, terms=TERMS))
        row = longest(metadata=metadata(MAX_METADATA_BYTES), questions=questions, pending=ORDERS)
    text = "q" * (KEPT_BYTES - kept_bytes(row))
    questions = (*questions[:-1], msgspec.structs.replace(questions[-1], text=text + "q" * 60))
    calls: tuple[OpenTool, ...] = ()
    for number in range(MAX_OPEN_TOOLS):
        calls = newest_tools((*calls, OpenTool("t" * 40, f"{number}".rjust(45), TIME, TIME, True)))
    unplaced = tuple((PLACE, f"{n}".rjust(10), "waiting_for_input", PLACE) for n in range(16))
    ledgers: dict[str, Ledger] = {}
    for number in range(MAX_CLIENTS):
        put(ledgers, f"{number:036}", Ledger().with_received(1).with_received(2**53))
    return longest(
        metadata=metadata(MAX_METADATA_BYTES), questions=questions, pending=ORDERS, open_tools=calls,
        unplaced=unplaced, clients=ledgers, **GIVEN,
    )  # fmt: skip


def test_the_longest_row_has_what_a_row_may_have() -> None:
    """Every part at its bound at once: names, calls, clients, cells, metadata with questions, and one agent's share."""
    row = full()
    assert kept_bytes(row) == KEPT_BYTES
    assert size(row) > 4 * MAX_ROW_BYTES
    found = fitted(row)
    assert 0.9 * MAX_ROW_BYTES < size(found) <= MAX_ROW_BYTES
    kept = ("metadata", "questions", "pending", "open_tools", "clients", "unplaced", "agent", "usage", "run_total")
    assert [getattr(found, name) for name in kept] == [getattr(row, name) for name in kept]
    assert list(found.shares) == list(row.shares)[-1:], "the agent that told last stays"
    assert found.dormant is None or not found.dormant.shares
    assert found.retired is not None
    assert found.calls == ToldCalls(gone=ALL_GONE)
    assert fitted(found) is found


def test_what_is_known_of_a_question_stays_while_its_answer_waits() -> None:
    given = Pending(1, "input", "a", question_id=1005)
    found = fitted(run_row(pending=(given,), **GIVEN))
    assert size(found) <= MAX_ROW_BYTES
    assert [one.question_id for one in found.closed_questions] == [1005]


def remembered(row: RunRow) -> int:
    """How many agents."""
    return len(row.shares) + (0 if row.dormant is None else len(row.dormant.shares))


def test_no_sum_changes_where_agents_give_way() -> None:
    spending, big = Spending({}), 10**12
    for number in range(250):
        for kind, usage in (
            ("total", Usage(9 * big, 4 * big, big, 5, 2 * big, cost_nanos=7 * big)),
            ("delta", Usage(3, None, 2, 1)),
        ):
            spending = spending.after(UsageReport(usage, kind), f"{number}" + NAME[:180])  # type: ignore[arg-type]
    told = {"shares": spending.shares, "dormant": spending.dormant}
    row = run_row(metadata=metadata(MAX_METADATA_BYTES), **{**GIVEN, **told})
    row = msgspec.structs.replace(row, questions=full().questions)
    found = fitted(row)
    assert size(found) <= MAX_ROW_BYTES
    assert 1 < remembered(found) < remembered(row)
    assert found.spending().usage() == row.spending().usage()
    assert found.usage_flags == (AGENTS_RETIRED,)


def test_where_there_is_room_nothing_gives_way() -> None:
    shares = {f"agent {n}": AgentShare(Usage(n, n, n, n, n, n, n)) for n in range(100)}
    row = run_row(shares=shares, metadata=metadata(MAX_METADATA_BYTES))
    assert fitted(row) is row


def test_the_first_to_give_way_is_what_only_says_where_a_sum_is_counted() -> None:
    order = GIVES_WAY
    few = {"dormant": Dormant().with_share("b", AgentShare()), "shares": {"a": AgentShare()}}
    whole = {name: GIVEN[name] for name in order} | few
    for count in range(1, len(order)):
        left = {name: whole[name] for name in order[count:]}
        room = FITTED_BYTES - size(run_row(**left))
        if room > 200:
            # The others fit alone, and all before them have to go.
            row = fitted(run_row(**whole, metadata=metadata(room - 100)))
            assert [name for name in order if getattr(row, name) != whole[name]] == list(order[:count])
            assert size(row) <= FITTED_BYTES
    assert room > 200


def test_running_totals_of_packed_agents_go_before_the_agents() -> None:
    spending = Spending({})
    for number in range(200):
        for at in range(1, 5):
            report = UsageReport(Usage(9, output_tokens=1, total_tokens=1000 * at), "turn", by_size=True)
            spending = spending.after(report, f"agent {number}", at)
    row = run_row(shares=spending.shares, dormant=spending.dormant)
    assert size(row) < FITTED_BYTES
    for excess in (500, 1_500, 3_000):
        kept = FITTED_BYTES - size(row) + excess
        found = fitted(msgspec.structs.replace(row, error="e" * kept))
        assert found.spending().usage() == row.spending().usage()
        assert found.dormant is not None
        assert len(found.dormant.shares) == 192, "no agent is forgotten"
        assert sum(map(points_in, found.dormant.shares.values())) < 4 * 192


def test_what_those_are_known_by_that_are_forgotten_gives_way_last() -> None:
    """The oldest of it, so that what is left fits; what else such agents tell counts with care."""
    digests = "".join(f"{number:014}" for number in range(MAX_DIGESTS))
    row = full()
    left = ToldCalls(gone=ALL_GONE)
    known = {"calls": left, "dormant": Dormant(forgotten=digests), "shares": {NAME: SHARE}, "retired": AgentShare(MOST)}
    row = msgspec.structs.replace(
        row, told_totals=(), assumed_cells=(), computed_cells=(), closed_questions=(), **known
    )
    found = fitted(row)
    assert 0.9 * MAX_ROW_BYTES < size(found) <= MAX_ROW_BYTES
    assert found.dormant is not None
    assert digests.endswith(found.dormant.forgotten)
    assert 0 < len(found.dormant.forgotten) < len(digests)
    assert found.retired is not None
    assert found.retired.forgotten == "calls"


def test_agents_that_wait_for_an_approval_are_the_last_to_go() -> None:
    shares = {f"{n}" + NAME[:180]: msgspec.structs.replace(SHARE, awaited_step=-1) for n in range(20)}
    first = next(iter(shares))
    shares[first] = msgspec.structs.replace(SHARE, awaited_step=3)
    found = fitted(run_row(shares=shares))
    assert next(iter(found.shares)) == first
    assert len(found.shares) < len(shares)


def test_an_agent_that_has_told_both_sides_alone_is_not_retired_without_a_word() -> None:
    """Who tells input and output without a split has told running totals too."""
    share = AgentShare(sides=Sides(5, 3), rest=Usage(5, output_tokens=3))
    spending = Spending({"a": share, "b": AgentShare()}).without("a")
    assert (spending.flags, spending.usage().input_tokens) == ((AGENTS_RETIRED,), 5)
    assert Spending({"a": AgentShare(Usage(1), sides=NO_SIDES)}).without("a").flags == ()


# Calls of a trace that give way


def test_calls_that_give_way_leave_their_ids() -> None:
    """The oldest first, then the sums of spans that have not come."""
    known = msgspec.structs.replace(CALLS, gone=b"")
    found = known.shorter(3 * size(CALLS.calls[0]))
    assert [one.span_id for one in found.calls] == [one.span_id for one in CALLS.calls[-len(found.calls) :]]
    assert 25 < len(found.calls) < 30
    assert found.below == CALLS.below
    assert [found.forgot(one.span_id) for one in CALLS.calls] == [True] * (32 - len(found.calls)) + [False] * len(
        found.calls
    )
    sums = known.shorter(size(CALLS.calls) + 2 * size(CALLS.below[0]))
    assert (sums.calls, len(sums.below) < 64, sums.forgot(CALLS.below[0].span_id)) == ((), True, True)


def test_where_not_even_their_ids_have_room_no_further_call_counts() -> None:
    """Whatever comes may be of what is remembered no more: it is unknown, and not counted twice."""
    found = CALLS.shorter(10**6)
    assert found == ToldCalls(gone=ALL_GONE)
    assert found.forgot("0" * 16)
    later = found.after((CALLS.calls[0],), (BelowSpan("f" * 16, MOST),))
    assert later.gone == ALL_GONE
    assert (ToldCalls().shorter(10), ToldCalls().forgot("0" * 16)) == (ToldCalls(), False)
