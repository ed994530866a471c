"""What the audit says of each command about members; see `acts`. Never a token, a digest or a password."""

from __future__ import annotations

from towerlog.engine.audit import states
from towerlog.engine.audit.hook import About
from towerlog.engine.commands.members import member_or_none
from towerlog.engine.plan.plan import Plan
from towerlog.model.audit import Action
from towerlog.model.member import (
    ChangeMember,
    CreateMember,
    EndSession,
    EndSessions,
    EndSignInLink,
    MakeSignInLink,
    MemberNow,
    RemoveMember,
    SessionEnded,
    SessionsEnded,
    SessionStarted,
    SetPassword,
    SignInLinkEnded,
    SignInLinkMade,
    StartSession,
)
from towerlog.model.principal import Principal
from towerlog.model.times import format_ms


def create_member(
    _plan: Plan, _principal: Principal, _command: CreateMember, outcome: MemberNow | None
) -> About | None:
    """The new member."""
    if outcome is None or not outcome.created:
        return None
    return About(Action.MEMBER_CREATE, "member", outcome.user.user_id, states.member_state(outcome.user))


def change_member(plan: Plan, principal: Principal, command: ChangeMember, outcome: MemberNow | None) -> About | None:
    """The member."""
    return _member(plan, principal, Action.MEMBER_CHANGE, command.user_id, outcome)


def remove_member(plan: Plan, principal: Principal, command: RemoveMember, outcome: MemberNow | None) -> About | None:
    """The member."""
    return _member(plan, principal, Action.MEMBER_REMOVE, command.user_id, outcome)


def _member(plan: Plan, principal: Principal, action: Action, user_id: str, outcome: MemberNow | None) -> About | None:
    user = outcome.user if outcome is not None else member_or_none(plan, principal.org, user_id)
    return None if user is None else About(action, "member", user_id, states.member_state(user))


def make_link(
    _plan: Plan, _principal: Principal, _command: MakeSignInLink, outcome: SignInLinkMade | None
) -> About | None:
    """Whom the link is for, and until when."""
    if outcome is None:
        return None
    said = {"link_id": outcome.link.link_id, "expires_at": format_ms(outcome.link.expires_at)}
    return About(Action.MEMBER_LINK, "member", outcome.link.user_id, said)


def end_link(
    _plan: Plan, _principal: Principal, command: EndSignInLink, outcome: SignInLinkEnded | None
) -> About | None:
    """Whom the link was for."""
    if outcome is None:
        return None
    return About(Action.MEMBER_LINK_END, "member", outcome.link.user_id, {"link_id": command.link_id})


def start_session(
    plan: Plan, principal: Principal, command: StartSession, outcome: SessionStarted | None
) -> About | None:
    """By what the member has signed in, and until when; of one who became a member by that, as what."""
    if outcome is None:
        return None
    how = "link" if command.link is not None else "identity_provider" if command.subject is not None else "password"
    said = {"by": how, "expires_at": format_ms(outcome.session.expires_at)}
    user = None if command.joins is None else member_or_none(plan, principal.org, outcome.session.user_id)
    if user is not None and user.created_at == outcome.session.created_at:
        said |= states.member_state(user)
    return About(Action.MEMBER_SIGN_IN, "member", outcome.session.user_id, said)


def end_session(_plan: Plan, _principal: Principal, _command: EndSession, outcome: SessionEnded | None) -> About | None:
    """Whose session, and which."""
    if outcome is None:
        return None
    said = {"sessions": "one", "session_id": outcome.session.session_id}
    return About(Action.MEMBER_SIGN_OUT, "member", outcome.session.user_id, said)


def end_sessions(
    _plan: Plan, principal: Principal, command: EndSessions, outcome: SessionsEnded | MemberNow | None
) -> About | None:
    """Whose session, or sessions."""
    if outcome is None:
        return None
    said = {"sessions": "this" if command.user_id is None else "all"}
    return About(Action.MEMBER_SIGN_OUT, "member", command.user_id or principal.user_id, said)


def set_password(_plan: Plan, _principal: Principal, _command: SetPassword, outcome: MemberNow | None) -> About | None:
    """Whose."""
    if outcome is None:
        return None
    return About(Action.MEMBER_PASSWORD, "member", outcome.user.user_id, states.member_state(outcome.user))
