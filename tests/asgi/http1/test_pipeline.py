"""The requests in hand on a connection: refused whole or done whole, counted while they wait, one reply at a time."""

from __future__ import annotations

import pytest

from tests.asgi.http1.hand import Taking, get, linked, post
from tests.support.wait import wait_until_async


@pytest.mark.parametrize("before", [b"", get("/later")], ids=["alone", "behind another"])
async def test_a_body_for_which_there_is_no_room_is_never_taken_for_an_empty_one(before: bytes) -> None:
    """All of it is here, and yet nothing is left of it."""
    app = Taking()
    app.ledger.take_bytes((app.ledger.address("127.0.0.1"), app.ledger.process), 95_000)
    link, transport = linked(app)
    link.data_received(before + post("/orders", b"x" * 150_000))
    for respond in app.open:
        respond(200, [(b"content-length", b"0")], b"")
    await wait_until_async(lambda: len(transport.statuses) == len(app.open) + 1, "its reply")
    assert transport.statuses[-1] == 503
    assert app.done == []
    link.data_received(post("/orders", b"x"))
    await wait_until_async(lambda: transport.statuses[-1:] == [200], "the next")
    link.connection_lost(None)
    assert app.ledger.process.held_bytes == 95_000
