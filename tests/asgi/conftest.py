"""The whole application over a store of its own, spoken to without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.conversation import ADMIN_KEY, HandClock, ask
from tests.support.backends import SqliteBackend
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.config import Settings
from towerlog.server import build


@pytest.fixture
def clock() -> HandClock:
    """Stands still."""
    return HandClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults, but small where a test has to reach a bound; of a data folder that has its empty database already."""
    SqliteBackend.fresh(tmp_path).make()
    return Settings(data_dir=str(tmp_path), bootstrap_key=ADMIN_KEY, max_body_bytes=100_000, max_streams=3)


@pytest.fixture
async def app(settings: Settings, clock: HandClock) -> AsyncIterator[App]:
    """Started, with the real engine and the real store behind it."""
    made, _ = build(settings, clock, SystemIds(clock))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def say(app: App) -> Any:
    """`await say("GET", "/v1/runs")`: one request with the admin's key."""
    return partial(ask, app)
