"""Organisations that are removed: what one held, and how far the erasure of it has come."""

from __future__ import annotations

import msgspec

CALM_MS = 10_000
"""From the removal on (wall ms) somebody may still read what was committed last: other nodes, and streams until they
are ended. The log goes after it."""
SETTLED_MS = 120_000
"""From the removal on (wall ms) something that was let in before may still be on its way into the log; before it is
over an erasure is not called done."""


class OrgHolds(msgspec.Struct, frozen=True, gc=False):
    """What an organisation holds."""

    runs: int
    """That it has begun, erased ones too."""
    events: int
    """That it has recorded, erased ones too."""
    keys: int
    """That are not revoked."""
    members: int
    """That are not removed."""


class RemovedOrg(msgspec.Struct, frozen=True, gc=False):
    """A removed organisation. Its number and its id are never given out again."""

    org: int
    org_id: str
    name: str
    created_at: int
    """Wall ms."""
    removed_at: int
    """Wall ms."""
    held: OrgHolds
    """When it was removed."""
    erased_rows: int = 0
    """Rows of whatever kind that are erased by now."""
    erased_at: int | None = None
    """Wall ms since when nothing of it is left; None while steps are to be done."""
