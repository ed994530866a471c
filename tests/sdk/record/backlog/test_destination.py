"""Destinations: one spool for each, which reveals no secret, and an own one for what cannot be delivered."""

from __future__ import annotations

from pathlib import Path

import pytest

from towerlog.sdk.record.backlog.destination import ABOUT, NO_KEY, Destination
from towerlog.sdk.record.backlog.own_files import OwnFolder


def test_each_url_and_key_has_a_spool_of_its_own_that_does_not_show_the_key() -> None:
    names = {Destination.of(url, key).spool_id for url in ("http://a", "http://b") for key in ("k1", "k2", "")}
    assert len(names) == 6
    assert not any("k1" in name for name in names)


def test_one_server_has_one_spool_however_its_url_is_written() -> None:
    assert len({Destination.of(url, "k").spool_id for url in ("http://a", "http://a/", "http://a:80")}) == 1


def test_without_a_key_nothing_can_be_sent() -> None:
    found = Destination.of("http://a", "")
    assert (found.why_not, found.spool_id[:8]) == (NO_KEY, "keyless-")


@pytest.mark.parametrize(("url", "key"), [("htp://a", "k"), ("http://", "k"), ("http://a", "two words")])
def test_what_cannot_be_used_raises_or_becomes_a_destination_of_its_own(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="must"):
        Destination.of(url, key)
    monkeypatch.setenv("TOWERLOG_URL", url)
    monkeypatch.setenv("TOWERLOG_API_KEY", key)
    found = Destination.of_environment()
    assert found.spool_id.startswith("unusable-")
    assert "not valid" in (found.why_not or "")


def test_the_note_in_a_spool_holds_no_secret(tmp_path: Path) -> None:
    with OwnFolder.open(tmp_path) as folder:
        Destination("http://user:secret@a/path?token=secret", "secret-key", "not valid").note(folder)
    text = (tmp_path / ABOUT).read_text()
    assert "secret" not in text
    assert "http://a/path" in text
