"""The guides of the documentation that belong to an API, as text: what `/docs` links to.

They are copies of pages of the docs, written by `make docs`, since an installed package has no docs beside it.
"""

from __future__ import annotations

from importlib.resources import files

from towerlog.asgi.pages.security import SECURITY_HEADERS
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import PLAIN_TEXT, Reply
from towerlog.errors import NotFound

GUIDES: dict[str, str] = {
    "activity": "dialects/activity.md",
    "checkpoints": "dialects/checkpoints.md",
    "lanes": "dialects/lanes.md",
    "native": "reference/ingest.md",
    "operator": "operate/deploy.md",
    "runs": "dialects/runs.md",
    "steps": "dialects/steps.md",
}
"""Guide → the page of the docs that it is. Named as the tag of the operations that it explains."""
FOLDER = "guides"


def guide_path(name: str) -> str:
    """Where a guide is."""
    return f"/docs/guides/{name}"


async def _answer(visit: PageVisit) -> Reply:
    name = visit.path["guide"]
    if name not in GUIDES:
        raise NotFound("guide")
    text = files("towerlog.asgi.pages").joinpath("assets", FOLDER, f"{name}.md").read_bytes()
    return Reply(200, text, PLAIN_TEXT, SECURITY_HEADERS)


ROUTE = PageRoute(
    "GET",
    guide_path("{guide}"),
    "guide_page",
    "A guide to one of the APIs.",
    _answer,
    public=True,
    reply_type=PLAIN_TEXT,
    refuses=(NotFound,),
)
