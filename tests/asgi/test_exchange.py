"""What both ways share: a request is explained and counted whatever became of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.conversation import HERE, scope_of
from towerlog.asgi.app import App
from towerlog.asgi.exchange import Exchange, count, explain_to
from towerlog.errors import NotFound


def exchange(path: str) -> Exchange:
    return Exchange(scope_of("GET", path, {}, HERE), 0)


@pytest.mark.parametrize(("path", "words"), [("/v1/runs/nowhere", b'"code"'), ("/elsewhere", b'"type"')])
async def test_a_path_that_leads_nowhere_is_explained_by_whoever_owns_most_of_it(
    app: App, path: str, words: bytes
) -> None:
    parts = app._shortcut._parts
    reply = explain_to(parts, exchange(path), NotFound("run"))
    assert reply.status == 404
    assert words in reply.body


async def test_a_dialect_that_cannot_explain_an_error_still_answers(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = app._shortcut._parts
    given = exchange("/api/ingest")
    given.route, _ = parts.table.find("POST", b"/api/ingest")

    class Speechless:
        name = "steps"

        def explain(self, *_: Any) -> Any:
            raise ValueError("no words")

    monkeypatch.setattr(given.route, "dialect", Speechless())
    assert explain_to(parts, given, NotFound("run")).status == 500


async def test_what_reached_no_route_is_counted_as_such(app: App) -> None:
    parts = app._shortcut._parts
    count(parts, exchange("/nowhere"), 404)
    assert parts.meters.of("none").statuses == {404: 1}
