"""What a caller asks about itself: whom its key speaks for."""

from __future__ import annotations

import msgspec

from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Reply, reply_json
from towerlog.dialects.native.keys import ANYBODY


class WhoAmI(msgspec.Struct, frozen=True):
    """Whom a key speaks for, and what it may do."""

    org_id: v.OrgId
    user_id: v.UserId
    key_id: v.KeyId
    scopes: v.Scopes


async def whoami(visit: PageVisit) -> Reply:
    """What the key that was sent stands for."""
    principal = visit.principal
    assert principal is not None
    scopes = sorted(scope.value for scope in principal.scopes)
    return reply_json(WhoAmI(principal.org_id, principal.user_id, principal.key_id, scopes))


WHOAMI = PageRoute(
    "GET", "/api/v1/whoami", "whoami", "The organisation, user and scopes of this key.", whoami, ANYBODY, reply=WhoAmI
)
