"""What the tests of egress share: a deadline that does not have to be waited for."""

from __future__ import annotations

import pytest

import towerlog.egress.http


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Posts have half a second; the mechanism is the same at any length."""
    assert towerlog.egress.http.POST_SECONDS == 10
    monkeypatch.setattr(towerlog.egress.http, "POST_SECONDS", 0.5)
