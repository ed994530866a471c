"""What the tests of the command line share: a server that is not there is not waited for by the seconds."""

from __future__ import annotations

import functools

import pytest

from towerlog.sdk.api import caller
from towerlog.sdk.wire.retries import Retries


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the attempts of a request a command pauses for a moment, not for three seconds in all."""
    assert Retries().first_s == 0.2
    monkeypatch.setattr(caller, "Retries", functools.partial(Retries, first_s=0.01, longest_s=0.02))
