"""Members, their sessions and sign-in links, as they are read. They are written by units alone.

Laws:

* They are state, no projection: the last one written stands, and a rebuild leaves them alone.
* A user is never dropped: entries of the audit and keys name it. One that was removed is no member any more.
* A session that is over is not there.
* A link that was used is there until it would have expired. It is good while it was not used, its member is one, and
  the key that has made it is not revoked, or the member who has made it is an administrator; it ends with all sessions
  of its member. At most `MAX_LINKS` for a member are there, the ones that were made last.
* At most `MAX_SESSIONS` of a member are there, the ones that began last. One that is used moves its end on, never past
  `SESSION_MS` after its beginning, and never once it has come.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from towerlog.model.member import LinkFound, Session, SignInLink
from towerlog.model.principal import User


class MemberStore(Protocol):
    """Reads of members."""

    async def members(self, org: int, limit: int, before: str | None) -> list[User]:
        """Members that are not removed, the last that was made first; `before` is a user id."""
        ...

    async def members_named(self, organisation: str, name: str) -> tuple[str, User] | None:
        """The member with this name or e-mail address, in any case of letters, of the organisation with this name;
        with the organisation's id."""
        ...

    async def member_known(self, org: int, subject: str, email: str | None) -> User | None:
        """The member that an identity provider knows as this subject, else the one with this e-mail address; else
        somebody with one of them who was a member and is removed."""
        ...

    async def link_by_digest(self, digest: bytes) -> LinkFound | None:
        """The link with this SHA-256 of its token, used or not."""
        ...

    async def sign_in_links(self, org: int, limit: int, before: str | None, now_ms: int) -> list[SignInLink]:
        """Links that are good at this time (wall ms), the last that was made first; `before` is a link id."""
        ...

    async def sessions(
        self, org: int, user_id: str | None, limit: int, before: str | None, now_ms: int
    ) -> list[Session]:
        """Sessions that are not over at this time (wall ms), of one member or of all, the last that began first;
        `before` is a session id."""
        ...

    async def sessions_seen(self, digests: Collection[bytes], now_ms: int, until_ms: int) -> None:
        """Sessions with these digests were used now, and are good until then (both wall ms). No order beside commits
        and no sync of its own: a crash may take back the last of it."""
        ...

    async def signed_out_drop(self, now_ms: int, limit: int) -> int:
        """Forgets sessions and links that have expired by now (wall ms), at most so many of each; how many."""
        ...
