# Generated from async_calls.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""`Members`: the calls of `Client` about members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from towerlog.sdk.api.caller import Caller
from towerlog.sdk.api.members import endpoints, shapes


class Members(Caller):
    """A part of a client."""

    def list_members(self) -> Iterator[shapes.Member]:
        """Members, newest first."""
        return self._all(endpoints.list_members())

    def create_member(self, name: str, role: str, email: str | None = None) -> shapes.Member:
        """Creates a member: role viewer, operator or admin. It signs in by a link first."""
        members = {"name": name, "role": role} | ({} if email is None else {"email": email})
        return self._send(endpoints.create_member(members))

    def change_member(self, user_id: str, **members: Any) -> shapes.Member:
        """Changes a member's name, role or email."""
        return self._send(endpoints.change_member(user_id, members))

    def remove_member(self, user_id: str) -> shapes.Member:
        """Removes a member; its sessions end."""
        return self._send(endpoints.remove_member(user_id))

    def sign_out_member(self, user_id: str) -> shapes.Member:
        """Ends all sessions of a member."""
        return self._send(endpoints.sign_out_member(user_id))

    def list_sessions(self, user_id: str | None = None) -> Iterator[shapes.Session]:
        """Where members are signed in, newest first; with `user_id` that one."""
        return self._all(endpoints.list_sessions(user_id))

    def end_session(self, session_id: str) -> shapes.Session:
        """Ends one session."""
        return self._send(endpoints.end_session(session_id))

    def create_sign_in_link(
        self, user_id: str | None = None, expires_in_seconds: int | None = None
    ) -> shapes.SignInLink:
        """Makes a link that signs a member in once; without `user_id` the user of this client's key."""
        return self._send(endpoints.create_sign_in_link(user_id, expires_in_seconds))

    def list_sign_in_links(self) -> Iterator[shapes.SignInLink]:
        """Links that sign somebody in and were not used, newest first."""
        return self._all(endpoints.list_sign_in_links())

    def end_sign_in_link(self, link_id: str) -> shapes.SignInLink:
        """Takes a link back."""
        return self._send(endpoints.end_sign_in_link(link_id))
