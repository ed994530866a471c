"""The stream of changed rows: what its query means, and how its frames look."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.support.factories import run_row
from towerlog.dialects.base import Call, DialectSettings
from towerlog.dialects.native import NATIVE
from towerlog.dialects.native.screens.live import ROWS, STYLE
from towerlog.errors import Invalid
from towerlog.model.agent import AgentRow
from towerlog.model.outcome import AgentView, RunView
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import FollowRows, RowFilter, RowKind
from towerlog.model.run import Status

[LIVE] = [endpoint for endpoint in NATIVE.endpoints if endpoint.name == "live"]
PRINCIPAL = Principal(org=1, org_id="o", user_id="u", key_id="k", scopes=frozenset(Scope))


def decoded(query: dict[str, str], headers: dict[bytes, bytes] | None = None) -> FollowRows:
    found = LIVE.decode(Call(PRINCIPAL, {}, query, headers or {}, b"", DialectSettings(), "0" * 32, 0))
    assert isinstance(found, FollowRows)
    return found


def test_without_a_query_everything_is_watched_from_now_on() -> None:
    assert decoded({}) == FollowRows(RowFilter(), None, 1000)
    assert decoded({"kind": "", "status": "", "cursor": "", "agent": ""}) == decoded({})


def test_what_a_query_asks_for() -> None:
    query = {"kind": "run, lane", "status": "success,queued", "agent": "a", "thread_id": "t", "run_id": "ABC"}
    kinds, statuses = frozenset({RowKind.RUN, RowKind.LANE}), frozenset({Status.COMPLETED, Status.QUEUED})
    assert decoded(query).wanted == RowFilter(kinds, "a", statuses, "t", "abc")


def test_the_header_goes_before_the_query() -> None:
    assert decoded({"cursor": "e-5"}).after == "e-5"
    assert decoded({"cursor": "e-5"}, {b"last-event-id": b"e-9"}).after == "e-9"
    assert decoded({"cursor": "7"}).after == "7"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"kind": "run,cat"}, "kind"),
        ({"kind": ","}, "kind"),
        ({"status": "fine"}, "status"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "e-"}, "cursor"),
        ({"cursor": "1" * 16}, "cursor"),
        ({"cursor": "e-1\n"}, "cursor"),
        ({"agent": "x" * 2000}, "agent"),
        ({"follow": "maybe"}, "follow"),
    ],
)
def test_what_is_refused_is_named(query: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        decoded(query)
    assert refused.value.field == field


def parts(frame: bytes) -> tuple[str, Any]:
    """An event's name and its data; it is one block of one line each."""
    event, data, *end = frame.decode("ascii").split("\n")
    assert end == ["", ""]
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_row_is_one_block_whatever_is_in_it() -> None:
    metadata = msgspec.Raw('{"a": "\u2028ü\\n\\r\\n\\nevent: x", "b":\t1}'.encode())
    row = msgspec.structs.replace(run_row(1), metadata=metadata, agent="zwölf\u0085", error="one\ntwo\r\n\nid: 7")
    name, data = parts(STYLE.row(RowKind.RUN, RunView(row, "o"), 1000))
    assert (name, data["agent"], data["error"]) == ("run", row.agent, row.error)
    assert data["metadata"] == {"a": "\u2028ü\n\r\n\nevent: x", "b": 1}
    name, data = parts(STYLE.row(RowKind.AGENT, AgentView(AgentRow(1, 1, "id", "a\nb", 0)), 1000))
    assert (name, data["name"]) == ("agent", "a\nb")


def test_the_other_frames() -> None:
    assert STYLE.place("e-1") == b"id: e-1\n"
    assert parts(STYLE.snapshot("e-1", True, [RowKind.BUDGET])) == (
        "snapshot",
        {"cursor": "e-1", "resumed": True, "whole": ["budget"]},
    )
    assert parts(STYLE.position("e-2")) == ("position", {"cursor": "e-2"})
    assert parts(STYLE.gap("why")) == ("gap", {"reason": "why"})
    assert parts(STYLE.removed(RowKind.BUDGET, "b")) == ("removed", {"kind": "budget", "id": "b"})


def test_every_kind_has_its_form() -> None:
    assert set(ROWS) == set(RowKind)
