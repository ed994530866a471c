"""Addresses, keys, headers, pauses and lines: what is let through, and that no refusal repeats a secret."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.sdk.wire import address
from towerlog.sdk.wire.errors import BadAnswer


@pytest.mark.parametrize(
    ("url", "text", "host_header"),
    [
        ("http://h", "http://h", "h"),
        ("http://h:80/", "http://h", "h"),
        ("https://h:443/base/", "https://h/base", "h"),
        ("http://h:8700", "http://h:8700", "h:8700"),
        ("https://[::1]:8700", "https://[::1]:8700", "[::1]:8700"),
    ],
)
def test_a_url_is_taken_apart(url, text, host_header) -> None:
    found = address.read_url(url)
    assert (str(found), found.host_header) == (text, host_header)
    assert found.secure == url.startswith("https")


@pytest.mark.parametrize(
    "url", ["", "h:1", "ftp://h", "http://", "http://u:secret@h", "http://h/?key=secret", "http://h/#secret"]
)
def test_what_is_no_address_is_refused_without_repeating_it(url) -> None:
    with pytest.raises(ValueError) as caught:
        address.read_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "secret\r\nX: y", "sec ret", "secrét", "secret\x00"])
def test_a_key_that_could_be_no_header_is_refused_without_repeating_it(key) -> None:
    with pytest.raises(ValueError) as caught:
        address.checked_key(key)
    assert "sec" not in str(caught.value)


def test_headers_of_the_caller_win_and_cannot_smuggle() -> None:
    found = address.read_url("http://h:1")
    headers = address.request_headers(found, "k", {"Accept": "a", "User-Agent": "mine"})
    assert (headers["Host"], headers["Authorization"], headers["Accept"]) == ("h:1", "Bearer k", "a")
    assert headers["User-Agent"] == "mine"
    with pytest.raises(ValueError):
        address.request_headers(found, "k", {"A": "b\r\nC: d"})


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a\r\nX: y", "/ä"])
def test_what_is_no_path_is_refused(path) -> None:
    with pytest.raises(ValueError):
        address.checked_path(address.read_url("http://h"), path)


def test_a_prefix_stands_before_every_path() -> None:
    assert address.checked_path(address.read_url("http://h/towerlog/"), "/v1/runs") == "/towerlog/v1/runs"


def test_the_environment_says_where_when_nobody_else_does(monkeypatch) -> None:
    monkeypatch.delenv("TOWERLOG_URL", raising=False)
    monkeypatch.delenv("TOWERLOG_API_KEY", raising=False)
    assert address.server_of(None, None) == (address.LOCAL_URL, None)
    monkeypatch.setenv("TOWERLOG_URL", "http://e")
    monkeypatch.setenv("TOWERLOG_API_KEY", "k")
    assert address.server_of(None, None) == ("http://e", "k")
    assert address.server_of("http://o", "own") == ("http://o", "own")


def test_retry_after_is_seconds_or_a_date_and_has_a_cap() -> None:
    assert address.read_retry_after("7") == 7
    assert address.read_retry_after("999999") == address.MAX_RETRY_AFTER_S
    assert address.read_retry_after("-1") is None
    assert address.read_retry_after("soon") is None
    assert address.read_retry_after(None) is None
    later = address.read_retry_after(formatdate(time.time() + 60, usegmt=True))
    assert later is not None
    assert 50 < later <= 60
    assert address.read_retry_after(formatdate(0, usegmt=True)) == 0


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_come_out_whole_however_they_are_cut(lines, data) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    reader, got, at = address.Lines(), [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, 9))
        got += reader.feed(whole[at : at + size])
        at += size
    assert got == [line.removesuffix(b"\r") for line in lines]


def test_a_line_without_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(address, "MAX_LINE_BYTES", 10)
    reader = address.Lines()
    assert reader.feed(b"x" * 10) == []
    with pytest.raises(BadAnswer):
        reader.feed(b"x")
