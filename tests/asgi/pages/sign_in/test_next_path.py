"""Where a browser may be sent after a sign-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from towerlog.asgi.pages.sign_in.next_path import MAX_NEXT_CHARS, next_path

PATHS: list[tuple[str, str]] = json.loads((Path(__file__).parent / "next_paths.json").read_text())


@pytest.mark.parametrize(("sent", "goes"), PATHS, ids=repr)
def test_a_browser_stays_here(sent: str, goes: str) -> None:
    assert next_path(sent) == goes


def test_a_path_has_a_bound() -> None:
    assert next_path("/" + "x" * (MAX_NEXT_CHARS - 1)) != "/"
    assert next_path("/" + "x" * MAX_NEXT_CHARS) == "/"
