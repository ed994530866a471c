"""The endpoints of members as calls, as `endpoints` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towerlog.sdk.api.members import shapes
from towerlog.sdk.api.requests import ApiRequest, Listing, api_request, given, listing

PAGE = 200
"""Rows of a page, unless the caller says otherwise."""


def list_members(limit: int = PAGE) -> Listing[shapes.Member]:
    """Members, newest first."""
    return listing("/api/v1/members", shapes.Member, {"limit": limit})


def create_member(members: Mapping[str, Any]) -> ApiRequest[shapes.Member]:
    """A member."""
    return api_request("POST", "/api/v1/members", shapes.Member.read, dict(members))


def change_member(user_id: str, members: Mapping[str, Any]) -> ApiRequest[shapes.Member]:
    """Changes a member."""
    return api_request("PATCH", "/api/v1/members/{user_id}", shapes.Member.read, dict(members), user_id=user_id)


def remove_member(user_id: str) -> ApiRequest[shapes.Member]:
    """Removes a member."""
    return api_request("DELETE", "/api/v1/members/{user_id}", shapes.Member.read, user_id=user_id)


def sign_out_member(user_id: str) -> ApiRequest[shapes.Member]:
    """Ends a member's sessions."""
    return api_request("POST", "/api/v1/members/{user_id}:sign-out", shapes.Member.read, user_id=user_id)


def list_sessions(user_id: str | None, limit: int = PAGE) -> Listing[shapes.Session]:
    """Where members are signed in, newest first."""
    return listing("/api/v1/sessions", shapes.Session, given(limit=limit, user_id=user_id))


def end_session(session_id: str) -> ApiRequest[shapes.Session]:
    """Ends a session."""
    return api_request("DELETE", "/api/v1/sessions/{session_id}", shapes.Session.read, session_id=session_id)


def create_sign_in_link(user_id: str | None, expires_in_seconds: int | None) -> ApiRequest[shapes.SignInLink]:
    """A link."""
    body = given(user_id=user_id, expires_in_seconds=expires_in_seconds)
    return api_request("POST", "/api/v1/sign-in-links", shapes.SignInLink.read, body)


def list_sign_in_links(limit: int = PAGE) -> Listing[shapes.SignInLink]:
    """Links that sign somebody in, newest first."""
    return listing("/api/v1/sign-in-links", shapes.SignInLink, {"limit": limit})


def end_sign_in_link(link_id: str) -> ApiRequest[shapes.SignInLink]:
    """Takes a link back."""
    return api_request("DELETE", "/api/v1/sign-in-links/{link_id}", shapes.SignInLink.read, link_id=link_id)
