"""How much work an answer may be: its pieces are counted, whatever their kind, and all answers are read in turns."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.egress.certificates import serving, trusted
from tests.egress.receivers import ORG, answer_of, failure_of, outside, receiving, saying
from towerlog.egress.answers import MAX_PIECES, AnswerReader
from towerlog.egress.connections import ReadingTurns
from towerlog.egress.http import MAX_ANSWER_BYTES
from towerlog.egress.outcomes import EgressError, EgressFailure, HttpAnswer, Undelivered

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MANY = 10 * MAX_PIECES


async def answered(said: bytes) -> HttpAnswer | Undelivered:
    async with receiving(saying(said)) as receiver:
        return await outside().poster.post(f"http://127.0.0.1:{receiver.port}/", b"", {}, org_id=ORG)


def pieces_of(said: bytes, step: int = MAX_ANSWER_BYTES) -> tuple[AnswerReader, int]:
    """What was read of it, and how many calls of the parser that took."""
    reader, calls = AnswerReader(), 0
    counted = reader._count

    def count() -> None:
        nonlocal calls
        calls += 1
        counted()

    reader._count = count  # type: ignore[method-assign]  # what is counted is what is measured
    with contextlib.suppress(EgressError):
        for at in range(0, len(said), step):
            reader.take(said[at : at + step])
    return reader, calls


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (CHUNKED + b"1\r\na\r\n" * MANY, 200),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * MANY, 200),
        (b"HTTP/1.1 200 OK\r\n" + b"A:\r\n" * MANY, None),
        (b"HTTP/1.1 100 \r\n\r\n" * MANY, None),
        (b"HTTP/1.1 103 \r\nLink: a\r\n\r\n" * MANY, None),
    ],
    ids=["chunks", "trailers", "headers", "preliminary", "hints"],
)
async def test_an_answer_is_read_up_to_a_number_of_pieces(said: bytes, status: int | None) -> None:
    reader, calls = pieces_of(said)
    assert calls == MAX_PIECES + 1
    assert (reader.status, reader.is_whole) == (status, False)
    outcome = await answered(said)
    if status is None:
        assert failure_of(outcome) is EgressFailure.NOT_UNDERSTOOD
    else:
        answer = answer_of(outcome)
        assert (answer.status, answer.is_whole) == (status, False)


def test_reads_are_pieces_too() -> None:
    reader, calls = pieces_of(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000, step=1)
    assert calls == MAX_PIECES + 1
    assert (reader.status, reader.is_whole) == (200, False)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (CHUNKED + b"1\r\na\r\n" * (MAX_PIECES // 2) + b"0\r\n\r\n", b"a" * (MAX_PIECES // 2)),
        (b"HTTP/1.1 103 \r\nLink: a\r\n\r\n" * 9 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + b"HTTP/1.1 500 X\r\n\r\n" * MANY, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + bytes(100), b"ok"),
    ],
    ids=["chunks", "hints", "until-closed", "answers-after-it", "bytes-after-it"],
)
async def test_an_answer_of_few_pieces_is_whole(said: bytes, body: bytes) -> None:
    answer = answer_of(await answered(said))
    assert (answer.status, answer.body, answer.is_whole) == (200, body, True)


async def test_in_one_turn_of_the_loop_one_answer_is_read() -> None:
    turns, turn, went_on = ReadingTurns(), 0, []

    async def count_turns() -> None:
        nonlocal turn
        while len(went_on) < 40:
            turn += 1
            await asyncio.sleep(0)

    async def read() -> None:
        await turns.take()
        went_on.append(turn)

    await asyncio.gather(count_turns(), *(read() for _ in range(40)))
    assert len(set(went_on)) == 40


@pytest.mark.parametrize("tickets", [2, 2000])
async def test_what_tls_takes_beside_an_answer_is_bounded(tickets: int) -> None:
    context = serving("127.0.0.1")
    context.num_tickets = tickets
    poster = outside(trust=trusted).poster
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with receiving(saying(ok), tls=context) as receiver:
        outcome = await poster.post(f"https://127.0.0.1:{receiver.port}/", b"", {}, org_id=ORG)
    if tickets == 2:
        assert answer_of(outcome).is_whole
    else:
        assert failure_of(outcome) is EgressFailure.NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("status", "said", "wait_ms"),
    [
        (429, b"120", 120_000),
        (503, b"Thu, 01 Jan 1970 00:01:00 GMT", 50_000),
        (503, b"Thu, 01 Jan 1970 00:00:01 GMT", 0),
        (429, b"soon", 0),
        (429, b"-5", 0),
        (429, b"9" * 80, int("9" * 64) * 1000),
        (500, b"120", 0),
    ],
)
async def test_who_cannot_take_anything_says_for_how_long(status: int, said: bytes, wait_ms: int) -> None:
    head = b"HTTP/1.1 %d No\r\nRETRY-after:  %s \r\nContent-Length: 0\r\n\r\n" % (status, said)
    found = await answered(b"HTTP/1.1 103 Early\r\nRetry-After: 7\r\n\r\n" + head)
    assert isinstance(found, HttpAnswer)
    assert found.wait_ms(10_000) == wait_ms
    silent = await answered(b"HTTP/1.1 103 Early\r\nRetry-After: 7\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(silent, HttpAnswer)
    assert silent.wait_ms(10_000) == 0, "what was said before the answer is none of it"
