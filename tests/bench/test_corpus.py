"""The bytes that the bench sends are of the size, and of the sameness, that its figures rest on."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import corpus
from bench.corpus import FILL


@given(number=st.integers(0, 10**7), length=st.integers(0, 200_000))
def test_prose_has_its_length_and_needs_no_escape(number: int, length: int) -> None:
    text = corpus.prose(number, length)
    assert len(text) == length
    assert len(json.dumps(text)) == length + 2


def test_prose_is_the_same_for_a_number_and_another_for_another() -> None:
    assert corpus.prose(5, 300) == corpus.prose(5, 300)
    assert len({corpus.prose(number, 300) for number in range(5_000)}) == 5_000


@given(number=st.integers(0, 10**6), size=st.integers(40, 5_000))
def test_padded_json_has_exactly_the_size_asked_for(number: int, size: int) -> None:
    raw = corpus.padded({"number": 1, "text": FILL}, number, size)
    assert len(raw) == size
    assert json.loads(raw)["text"] == corpus.prose(number, len(json.loads(raw)["text"]))


def test_a_size_that_is_too_small_is_refused_not_overrun() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        corpus.padded({"text": FILL}, 0, 5)


def test_only_the_first_fill_is_replaced_so_that_the_size_is_right() -> None:
    raw = corpus.padded({"a": FILL, "b": FILL}, 0, 200)
    assert len(raw) == 200
    assert json.loads(raw)["b"] == FILL


def test_a_post_tells_the_length_of_its_body() -> None:
    head, _, body = corpus.post("/v1/events", "ümlaut".encode(), "the-key").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/events HTTP/1.1"
    assert "Authorization: Bearer the-key" in lines
    assert f"Content-Length: {len(body)}" in lines
    assert body.decode() == "ümlaut"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_records_come_back_as_they_were_written(requests: list[bytes]) -> None:
    assert corpus.records(b"".join(map(corpus.record, requests))) == requests


def test_a_corpus_file_holds_every_request_in_order(tmp_path: Path) -> None:
    requests = [corpus.post("/", b"x" * n, "k") for n in range(10)]
    assert corpus.write(tmp_path / "some.corpus", iter(requests)) == 10
    assert corpus.records((tmp_path / "some.corpus").read_bytes()) == requests
