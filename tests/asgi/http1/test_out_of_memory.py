"""A connection on which there is too little memory for a request says so, and its requests leave nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.http1.hand import Taking, get, linked, post
from tests.support.wait import wait_until_async
from towerlog.asgi.connection import Connection

FAULTS = [MemoryError, RecursionError]


class Lacking(Taking):
    """Finds too little for what it is asked, until it is `well`."""

    def __init__(self, fault: type[Exception]) -> None:
        super().__init__()
        self.is_well = False
        self._fault = fault

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        if not self.is_well and scope["path"] != "/task":
            raise self._fault
        return super().take(scope, body, respond)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self.is_well:
            raise self._fault
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize("path", ["/do", "/task"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_request_that_the_application_has_no_memory_for_is_a_503(fault: type[Exception], path: str) -> None:
    app = Lacking(fault)
    link, transport = linked(app)
    link.data_received(post(path, b"x" * 100))
    await wait_until_async(lambda: transport.statuses == [503], "its reply")
    assert b"retry-after: 1\r\n" in transport.taken
    assert app.arrivals.out_of_memory == 1
    app.is_well = True
    link.data_received(post(path, b"x"))
    await wait_until_async(lambda: transport.statuses == [503, 200], "the next one's")
    assert app.done == [(path, b"x")]
    link.connection_lost(None)
    assert app.ledger.process.is_idle


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", ["on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"])
async def test_a_request_that_cannot_be_read_for_want_of_memory_is_a_503_and_no_bad_request(
    fault: type[Exception], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Taking()

    def lacks(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(Connection, call, lacks)
        link, transport = linked(app)
        link.data_received(post("/do", b"x"))
        await wait_until_async(lambda: transport.has_ended, "its end")
    assert transport.statuses == [503]
    assert b"retry-after: 1\r\n" in transport.taken
    assert app.arrivals.out_of_memory == 1
    assert app.done == []
    link.connection_lost(None)
    link, transport = linked(app)
    link.data_received(get("/do"))
    assert transport.statuses == [200]
    link.connection_lost(None)
    assert app.ledger.process.is_idle
