"""A batch of events: what each reply means for the events that were sent."""

import json

import pytest

from tests.sdk.support.ingest_server import KEY, Ingest
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.event_batch import Disposition, read_reply, send_batch
from towerlog.sdk.wire.http import Http


def reply(status: int, body: object = None, **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        *[(status, Disposition.SMALLER) for status in (400, 413, 422)],
        *[(status, Disposition.LATER) for status in (408, 425, 429, 500, 502, 503, 504)],
        *[(status, Disposition.REFUSED) for status in (401, 403, 404, 405, 409, 201, 302)],
    ],
)
def test_the_meaning_of_a_status(status: int, disposition: Disposition) -> None:
    assert read_reply(reply(status, {"error": {"message": "because"}}), 1).disposition is disposition


@pytest.mark.parametrize(
    "body",
    [b"<html>", {}, [], {"results": []}, {"results": ["x"]}, {"results": 1}, {"results": [{}], "commands": 3}],
    ids=str,
)
def test_an_answer_that_does_not_say_what_became_of_each_event_is_none(body: object) -> None:
    assert read_reply(reply(200, body), 1).disposition is Disposition.LATER


def test_what_was_wrong_and_how_long_to_wait_is_told() -> None:
    answer = read_reply(reply(503, {"error": {"message": "because"}}, **{"retry-after": "7"}), 1)
    assert (answer.words, answer.retry_after_s) == ("HTTP 503: because", 7.0)


def test_a_request_holds_the_events_as_they_were_encoded(ingest: Ingest) -> None:
    http = Http(ingest.url, KEY, 5.0)
    lines = [b'{"event_id":"e1","run_key":"r","data":{},"type":"step"}']
    answer = send_batch(http, "c1", lines, ["r", "s"], 0, 5.0)
    http.close()
    assert answer.results == [{"event_id": "e1", "status": "stored"}]
    sent = ingest.requests[0]
    assert (sent["client_id"], sent["runs"], sent["events"]) == ("c1", ["r", "s"], [json.loads(lines[0])])
    assert "wait_seconds" not in sent
    assert sent["key"] == f"Bearer {KEY}"
