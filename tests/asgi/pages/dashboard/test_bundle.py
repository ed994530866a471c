"""What the dashboard was built to, in memory: its forms, its tags, its bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from towerlog.asgi.pages.dashboard import bundle
from towerlog.asgi.pages.dashboard.bundle import PARTS, BadBuild, read_build, read_parts

PLAIN, SMALL, SMALLER = b"console.log('dashboard')", b"gz bytes", b"br bytes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the build leaves it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html><title>Towerlog</title>")
    (tmp_path / "assets" / "app-3f2a.js").write_bytes(PLAIN)
    (tmp_path / "assets" / "app-3f2a.js.br").write_bytes(SMALLER)
    (tmp_path / "assets" / "app-3f2a.js.gz").write_bytes(SMALL)
    (tmp_path / "assets" / "icon-77aa.svg").write_bytes(b"<svg/>")
    return tmp_path


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br;q=0.000", None),
        ("br; q=1.0", "br"),
        ("identity", None),
        ("*", None),
        ("brotli", None),
    ],
)
def test_a_file_comes_in_the_best_form_that_is_taken(folder: Path, accepted: str, coding: str | None) -> None:
    file = read_build(folder)["assets/app-3f2a.js"]
    reply = file.answer({b"accept-encoding": accepted.encode()} if accepted else {})
    headers = dict(reply.headers)
    assert reply.status == 200
    assert reply.body == {None: PLAIN, "br": SMALLER, "gzip": SMALL}[coding]
    assert headers.get(b"content-encoding") == (coding.encode() if coding else None)
    assert headers[b"vary"] == b"accept-encoding"
    assert headers[b"cache-control"] == b"public, max-age=31536000, immutable"
    assert reply.content_type == "text/javascript; charset=utf-8"


def test_a_file_without_compressed_forms_comes_as_it_is(folder: Path) -> None:
    reply = read_build(folder)["assets/icon-77aa.svg"].answer({b"accept-encoding": b"br, gzip"})
    assert (reply.body, reply.content_type) == (b"<svg/>", "image/svg+xml; charset=utf-8")
    assert b"content-encoding" not in dict(reply.headers)


def test_the_page_is_asked_for_anew_and_sent_when_it_has_changed(folder: Path) -> None:
    page = read_build(folder)["index.html"]
    first = dict(page.answer({}).headers)
    assert first[b"cache-control"] == b"no-cache"
    for condition in (first[b"etag"], first[b"etag"].removeprefix(b"W/"), b'"other", ' + first[b"etag"], b"*"):
        again = page.answer({b"if-none-match": condition})
        assert (again.status, again.body) == (304, b"")
        assert dict(again.headers)[b"etag"] == first[b"etag"]
    assert page.answer({b"if-none-match": b'"other"'}).status == 200
    (folder / "index.html").write_bytes(b"<!doctype html><title>Another</title>")
    assert read_build(folder)["index.html"].answer({b"if-none-match": first[b"etag"]}).status == 200


def test_nothing_is_there_without_a_page(tmp_path: Path) -> None:
    assert read_build(tmp_path) == {}
    assert read_build(tmp_path / "nowhere") == {}


def test_a_page_names_the_modules_of_a_screen(folder: Path) -> None:
    (folder / PARTS).write_text('{"runs": ["assets/Runs-1.js", "assets/shared-2.js"], "now": []}')
    parts, index = read_parts(folder), read_build(folder)["index.html"]
    told = b"</assets/Runs-1.js>; rel=modulepreload, </assets/shared-2.js>; rel=modulepreload"
    page = index.naming(parts["runs"])
    for headers in ({}, {b"if-none-match": page.etag}):
        assert dict(page.answer(headers).headers)[b"link"] == told
    assert page.answer({}).body == index.answer({}).body
    assert index.naming(parts["now"]) is index
    assert read_parts(folder / "nowhere") == {}


@pytest.mark.parametrize("bad", ["{", "[]", '{"runs": ["/x>; rel=preload"]}', '{"runs": ["a\\r\\nb"]}'])
def test_what_names_no_modules_is_not_served(folder: Path, bad: str) -> None:
    (folder / PARTS).write_text(bad)
    with pytest.raises(BadBuild, match="parts of pages"):
        read_parts(folder)


def test_too_much_is_not_taken_into_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    monkeypatch.setattr(bundle, "MAX_BUILT_BYTES", total)
    assert len(read_build(folder)) == 3
    monkeypatch.setattr(bundle, "MAX_BUILT_BYTES", total - 1)
    with pytest.raises(BadBuild, match=str(total)):
        read_build(folder)
