"""Requests are put together safely, and pages lead to the next."""

from __future__ import annotations

import json

import pytest

from towerlog.sdk.api import requests
from towerlog.sdk.api.fleet_shapes import WhoAmI
from towerlog.sdk.api.shapes import ThreadRun
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer

ROW = {"run_id": "r", "status": "queued", "created_at": "t"}


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    assert requests.path_of("/a/{id}/b", {"id": "x/../y?z=ü%"}) == "/a/x%2F..%2Fy%3Fz%3D%C3%BC%25/b"
    with pytest.raises(ValueError):
        requests.path_of("/a/{id}/b", {"id": ""})


def test_a_query_has_what_is_known() -> None:
    query = {"a": None, "b": True, "c": ["x", "y"], "d": "&", "e": 0}
    assert requests.with_query("/p", query) == "/p?b=true&c=x%2Cy&d=%26&e=0"
    assert requests.with_query("/p", {"a": None}) == "/p"


def test_what_json_cannot_say_is_refused_before_it_is_sent() -> None:
    assert requests.json_bytes({"ü": [1, None]}) == '{"ü":[1,null]}'.encode()
    for value in (float("nan"), object(), "\ud800"):
        with pytest.raises((ValueError, TypeError)):
            requests.json_bytes(value)


def test_a_native_list_goes_on_by_its_cursor_and_keeps_its_filters() -> None:
    listing = requests.listing("/x", ThreadRun, {"limit": 1, "q": "z"})
    made = listing.first()
    assert made.path == "/x?limit=1&q=z"
    page = made.read(Response(200, {}, json.dumps({"data": [ROW], "next": "c=1"}).encode()))
    assert [row.run_id for row in page.rows] == ["r"]
    assert page.next_query is not None
    assert listing.at(page.next_query).path == "/x?limit=1&q=z&cursor=c%3D1"
    last = listing.at(page.next_query).read(Response(200, {}, b'{"data": [], "next": null}'))
    assert (list(last.rows), last.next_query) == ([], None)
    with pytest.raises(BadAnswer):
        made.read(Response(200, {}, b"[]"))


def test_a_linked_list_goes_on_where_the_link_says() -> None:
    listing = requests.linked("/v1/runs", ThreadRun, {"limit": 1})
    link = '</v1/runs?limit=1&status=queued&before=r>; rel="next"'
    page = listing.first().read(Response(200, {"link": link}, json.dumps([ROW]).encode()))
    assert page.next_query == {"limit": "1", "status": "queued", "before": "r"}
    assert listing.first().read(Response(200, {}, b"[]")).next_query is None


def test_a_good_reply_must_be_json() -> None:
    made = requests.api_request("GET", "/w", WhoAmI.read)
    with pytest.raises(BadAnswer):
        made.read(Response(200, {}, b"<html>"))
    with pytest.raises(ApiError):
        made.read(Response(404, {}, b"{}"))
