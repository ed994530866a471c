"""Commands that are answered by a server that is none: they end in a line of words, never in a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result

from tests.cli.commands import towerlog
from tests.sdk.talker import frame, reply, stream, talking
from towerlog.cli import exits, tables

RUN_ID = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"
RUN: dict[str, Any] = {
    "run_id": RUN_ID,
    "org_id": "o",
    "thread_id": "t",
    "status": "running",
    "created_at": "2026-01-01T00:00:00Z",
    "trace_id": "x",
    "last_seq": 1,
}
STRANGE: tuple[Any, ...] = (7, True, "x\x1b[2J\ud800", [], [1], {}, {"a": 1}, -1.5, "\u202e")


def asked(body: bytes, *command: str) -> Result:
    """What comes of a command that gets this reply to everything."""
    with talking(*[reply(200, body)] * 3) as talker:
        return towerlog(*command, TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k" * 20)


def ends_well(done: Result) -> bool:
    """Whether it has shown something or said what is wrong, without a character that controls a terminal."""
    is_safe = all(letter.isprintable() or letter == "\n" for letter in done.output)
    return is_safe and (done.exit_code == 0 or (isinstance(done.exception, SystemExit) and "towerlog:" in done.output))


@pytest.mark.parametrize("width", [None, 100])
@pytest.mark.parametrize(
    "field",
    ["status", "agent", "created_at", "duration_ms", "total_cost_usd", "usage", "lane", "delivery", "questions",
     "liveness", "cancel", "tree", "children", "input", "error", "attempt"],
)  # fmt: skip
def test_a_member_of_any_type_is_shown_or_refused(
    monkeypatch: pytest.MonkeyPatch, width: int | None, field: str
) -> None:
    monkeypatch.setattr(tables, "screen_width", lambda: width)
    for value in STRANGE:
        run = {**RUN, field: value}
        for body, command in ((run, ("runs", "show", RUN_ID)), ({"data": [run], "next": None}, ("runs", "ls"))):
            done = asked(json.dumps(body).encode(), *command)
            assert ends_well(done), (value, command, done.output, done.exception)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_is_nested_deep_is_shown_or_refused(form: tuple[str, ...]) -> None:
    for depth in (100, 400, 600, 900, 5000):
        body = json.dumps({**RUN, "input": 7}).replace("7}", "[" * depth + "]" * depth + "}").encode()
        done = asked(body, "runs", "show", RUN_ID, *form)
        assert ends_well(done), (depth, done.exception)


@pytest.mark.parametrize("name", ["duration_ms", "input_tokens", "tool", "parent_span_id", "content", "question_id"])
def test_an_event_of_any_kind_is_shown_or_refused(name: str) -> None:
    values = ("1e400", "true", "[[1]]", "{}", '"\\u001b[2J"', "null", "-0", "9" * 300)
    for type_ in ("tool.call", "tool.result", "model.call", "step", "message.delta", "run.waiting_for_input", "x"):
        frames = [
            b'data: {"seq": %d, "type": "%b", "created_at": "soon", "data": {"%b": %b}}\n\n'
            % (number, type_.encode(), name.encode(), value.encode())
            for number, value in enumerate(values, 1)
        ]
        followed = stream(*frames, frame(len(frames) + 1), b"event: end\ndata: {}\n\n")
        # The run is looked at twice: once it has ended, and before it is said that all in it have.
        with talking(followed, *[reply(200, json.dumps(RUN).encode())] * 3) as talker:
            done = towerlog("runs", "tail", RUN_ID, "--no-children", TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k" * 20)
        assert done.exit_code == 0, (type_, done.output, done.exception)
        assert ends_well(done), (type_, done.output)


def test_an_id_that_no_text_is_is_not_found() -> None:
    """As a command line has it whose bytes are no UTF-8."""
    with talking(*[reply(404, b'{"code": "not_found", "detail": "no such thread"}')] * 3) as talker:
        done = towerlog("runs", "create", "\udcff", TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k" * 20)
    assert (done.exit_code, done.output) == (exits.FOUND_WRONG, "towerlog: no such thread\n")
