"""`AsyncMembers`: the calls of `AsyncClient` about members. `Members` is generated from this module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from towerlog.sdk.api.async_caller import AsyncCaller
from towerlog.sdk.api.members import endpoints, shapes


class AsyncMembers(AsyncCaller):
    """A part of a client."""

    def list_members(self) -> AsyncIterator[shapes.Member]:
        """Members, newest first."""
        return self._all(endpoints.list_members())

    async def create_member(self, name: str, role: str, email: str | None = None) -> shapes.Member:
        """Creates a member: role viewer, operator or admin. It signs in by a link first."""
        members = {"name": name, "role": role} | ({} if email is None else {"email": email})
        return await self._send(endpoints.create_member(members))

    async def change_member(self, user_id: str, **members: Any) -> shapes.Member:
        """Changes a member's name, role or email."""
        return await self._send(endpoints.change_member(user_id, members))

    async def remove_member(self, user_id: str) -> shapes.Member:
        """Removes a member; its sessions end."""
        return await self._send(endpoints.remove_member(user_id))

    async def sign_out_member(self, user_id: str) -> shapes.Member:
        """Ends all sessions of a member."""
        return await self._send(endpoints.sign_out_member(user_id))

    def list_sessions(self, user_id: str | None = None) -> AsyncIterator[shapes.Session]:
        """Where members are signed in, newest first; with `user_id` that one."""
        return self._all(endpoints.list_sessions(user_id))

    async def end_session(self, session_id: str) -> shapes.Session:
        """Ends one session."""
        return await self._send(endpoints.end_session(session_id))

    async def create_sign_in_link(
        self, user_id: str | None = None, expires_in_seconds: int | None = None
    ) -> shapes.SignInLink:
        """Makes a link that signs a member in once; without `user_id` the user of this client's key."""
        return await self._send(endpoints.create_sign_in_link(user_id, expires_in_seconds))

    def list_sign_in_links(self) -> AsyncIterator[shapes.SignInLink]:
        """Links that sign somebody in and were not used, newest first."""
        return self._all(endpoints.list_sign_in_links())

    async def end_sign_in_link(self, link_id: str) -> shapes.SignInLink:
        """Takes a link back."""
        return await self._send(endpoints.end_sign_in_link(link_id))
