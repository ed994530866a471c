"""What a browser is told that asks first what a page of another origin may ask."""

from __future__ import annotations

from towerlog.asgi.guard.cors import PREFLIGHT_HEADERS
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import Reply


async def _answer_preflight(visit: PageVisit) -> Reply:
    return Reply(204, b"", headers=PREFLIGHT_HEADERS)


PREFLIGHT = PageRoute("OPTIONS", "*", "preflight", "What a page may ask.", _answer_preflight, public=True)
"""Of every path, and in no table: browsers ask it of themselves."""
