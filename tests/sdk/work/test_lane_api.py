"""What a worker's requests look like, and how refusals of either dialect are read."""

from __future__ import annotations

import pytest

from tests.sdk.support.lane_server import LaneServer
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import ApiError, BadAnswer
from towerlog.sdk.work.lane_api import Holder, LaneApi

HOLDER = Holder("r", "w", 3, "w:3")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_report_says_who_and_for_how_long() -> None:
    async with LaneServer().running() as server:
        http = AsyncHttp(server.url, "key")
        event = b'{"event_id":"e","type":"step","data":{}}'
        reply = await LaneApi(http, "w", 60).report(HOLDER, [event, event], 0, 5.0)
        assert [result["status"] for result in reply["results"]] == ["stored", "duplicate"]
        [report] = server.reports
        assert {name: value for name, value in report.items() if name != "events"} == {
            "worker_id": "w",
            "lease_epoch": 3,
            "lease_seconds": 60,
            "client_id": "w:3",
            "wait_seconds": 0,
        }
        await http.close()


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"code": "lease_lost", "message": "Lost."}, "lease_lost", "Lost."),
        ({"error": "Lost.", "code": "LEASE_LOST"}, "lease_lost", "Lost."),
        ({"error": {"code": "lease_lost", "message": "Lost."}}, "lease_lost", "Lost."),
        ({}, "http", "The server gave no reason."),
    ],
)
async def test_a_refusal_is_read_whichever_dialect_words_it(body, code, message) -> None:
    async with LaneServer().running() as server:
        server.before = lambda report: (409, body)
        http = AsyncHttp(server.url, "key")
        with pytest.raises(ApiError) as caught:
            await LaneApi(http, "w", 60).report(HOLDER, [], 0, 5.0)
        assert (caught.value.status, caught.value.code, caught.value.message) == (409, code, message)
        await http.close()


async def test_an_answer_of_another_kind_is_none() -> None:
    async with LaneServer().running() as server:
        server.before = lambda report: (200, ["no", "object"])  # type: ignore[return-value]
        http = AsyncHttp(server.url, "key")
        with pytest.raises(BadAnswer):
            await LaneApi(http, "w", 60).report(HOLDER, [], 0, 5.0)
        await http.close()


async def test_a_release_names_the_epoch() -> None:
    async with LaneServer().running() as server:
        http = AsyncHttp(server.url, "key")
        await LaneApi(http, "w", 60).release(HOLDER)
        assert server.released == [{"worker_id": "w", "lease_epoch": 3}]
        await http.close()
