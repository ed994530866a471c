"""One engine on one real store, with time and ids that the test holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rig import Rig, open_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig on an empty store with the organisation `default`."""
    async with open_rig(tmp_path) as opened:
        yield opened
