"""Members: who may sign in and as what, the links and sessions by which they do, and the password that each sets."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.errors import Conflict, NotFound, Unauthenticated
from towerlog.model.member import (
    MAX_MEMBERS,
    SESSION_MS,
    TOKEN_CHARS,
    ChangeMember,
    CreateMember,
    EndSessions,
    EndSignInLink,
    MakeSignInLink,
    MemberNow,
    RemoveMember,
    Session,
    SessionsEnded,
    SessionsOver,
    SessionStarted,
    SetPassword,
    SignInLink,
    SignInLinkEnded,
    SignInLinkMade,
    StartSession,
    link_digest,
    session_digest,
)
from towerlog.model.principal import Principal, Role, User
from towerlog.store.values import Kind

NOT_GOOD = "This does not sign you in, or not any more."
_replace = msgspec.structs.replace


def needs_of_members(
    needs: Needs, principal: Principal, _command: CreateMember | ChangeMember | RemoveMember | SetPassword
) -> None:
    """All members."""
    needs.want(Kind.MEMBERS, principal.org)


def members(plan: Plan, org: int) -> list[User]:
    """Who is a member, as this group has left it."""
    stored: tuple[User, ...] = plan.known.get(Kind.MEMBERS, org) or ()
    changed = {user.user_id: user for (of, _), user in plan.changes.users.items() if of == org}
    found = {user.user_id: user for user in stored} | changed
    return [user for user in found.values() if user.removed_at is None]


def member(plan: Plan, org: int, user_id: str) -> User:
    """One member. Raises NotFound."""
    found = next((user for user in members(plan, org) if user.user_id == user_id), None)
    if found is None:
        raise NotFound("member")
    return found


def create_member(plan: Plan, principal: Principal, command: CreateMember) -> MemberNow:
    """A member without a password; one that is there with all the same is that one.

    Raises Conflict past MAX_MEMBERS, and for a name or an address that is taken.
    """
    known = members(plan, principal.org)
    wanted = (command.name, command.email, command.role)
    same = next((user for user in known if (user.name, user.email, user.role) == wanted), None)
    if same is not None:
        return MemberNow(same)
    user = _new_member(plan, known, plan.ids.uuid(), principal.org, command)
    return MemberNow(_put(plan, user), created=True)


def _new_member(plan: Plan, known: list[User], user_id: str, org: int, command: CreateMember) -> User:
    if len(known) >= MAX_MEMBERS:
        raise Conflict(f"The organisation has {MAX_MEMBERS} members: no more are kept.")
    user = User(org, user_id, command.name, command.email, plan.now, command.role)
    _check_free(known, user)
    return user


def change_member(plan: Plan, principal: Principal, command: ChangeMember) -> MemberNow:
    """The member with what was given. Raises NotFound, Conflict."""
    user = member(plan, principal.org, command.user_id)
    email = user.email if isinstance(command.email, msgspec.UnsetType) else command.email
    changed = _replace(user, name=command.name or user.name, role=command.role or user.role, email=email)
    if changed == user:
        return MemberNow(user)
    known = members(plan, principal.org)
    _check_free(known, changed)
    if changed.role is not Role.ADMIN:
        _check_admin_left(known, user)
    return MemberNow(_put(plan, changed))


def remove_member(plan: Plan, principal: Principal, command: RemoveMember) -> MemberNow:
    """The member, who is none any more. Raises NotFound, and Conflict for the last administrator."""
    user = member(plan, principal.org, command.user_id)
    _check_admin_left(members(plan, principal.org), user)
    _end_all(plan, user)
    return MemberNow(_put(plan, _replace(user, removed_at=plan.now, password=None, subject=None)))


def _put(plan: Plan, user: User) -> User:
    plan.changes.users[user.org, user.user_id] = user
    return user


def _check_free(known: list[User], user: User) -> None:
    """Raises Conflict where another member signs in under the same name or address, in any case of letters."""
    taken = {
        name.casefold()
        for other in known
        if other.user_id != user.user_id
        for name in (other.name, other.email)
        if name
    }
    for field, name in (("name", user.name), ("email", user.email)):
        if name and name.casefold() in taken:
            raise Conflict(f"Another member has this {field}.", field=field)


def _check_admin_left(known: list[User], user: User) -> None:
    """Raises Conflict where nobody else is an administrator."""
    admins = [other for other in known if other.role is Role.ADMIN and other.user_id != user.user_id]
    if user.role is Role.ADMIN and not admins:
        raise Conflict("This is the last member with the role admin: give somebody else the role first.")


# Links


def needs_of_link(needs: Needs, principal: Principal, command: MakeSignInLink) -> None:
    """All members."""
    needs.want(Kind.MEMBERS, principal.org)


def make_link(plan: Plan, principal: Principal, command: MakeSignInLink) -> SignInLinkMade:
    """A link for a member. Raises NotFound."""
    user = member(plan, principal.org, command.user_id or principal.user_id)
    token = plan.ids.token(TOKEN_CHARS)
    until, by = plan.now + command.lifetime_ms, principal.key_id
    link = SignInLink(user.org, plan.ids.uuid(), link_digest(token), user.user_id, plan.now, until, by)
    plan.changes.sign_in_links[link.org, link.digest] = link
    return SignInLinkMade(link, token)


def needs_of_link_end(needs: Needs, principal: Principal, command: EndSignInLink) -> None:
    """The link."""
    needs.want(Kind.SIGN_IN_LINK_ID, (principal.org, command.link_id))


def end_link(plan: Plan, principal: Principal, command: EndSignInLink) -> SignInLinkEnded:
    """The link is no more. Raises NotFound, also for one that was used or is over."""
    org, changed = principal.org, plan.changes.sign_in_links.values()
    made = next((one for one in changed if (one.org, one.link_id) == (org, command.link_id)), None)
    found: SignInLink | None = made or plan.loaded(Kind.SIGN_IN_LINK_ID, (org, command.link_id))
    link = None if found is None else _good_link(plan, org, found.digest, found)
    if link is None:
        raise NotFound("link")
    link = plan.changes.sign_in_links[org, link.digest] = _replace(link, used_at=plan.now)
    return SignInLinkEnded(link)


def _good_link(plan: Plan, org: int, digest: bytes, stored: SignInLink | None) -> SignInLink | None:
    """A link as this group has left it; None for one that was used, is over, or whose maker may make none any more."""
    key = (org, digest)
    link = plan.changes.sign_in_links.get(key, stored)
    if link is None or link.used_at is not None or link.expires_at <= plan.now:
        return None
    is_over = key not in plan.changes.sign_in_links and any(
        (over.org, over.user_id, over.only) == (org, link.user_id, None) for over in plan.changes.sessions_over
    )
    maker = plan.changes.users.get((org, link.made_by or ""))
    is_revoked = any((one.org, one.key_id) == (org, link.made_by) and one.revoked_at for one in plan.changes.keys)
    has_gone = maker is not None and (maker.removed_at is not None or maker.role is not Role.ADMIN)
    return None if is_over or is_revoked or has_gone else link


def _end_all(plan: Plan, user: User, but: bytes | None = None) -> None:
    """Ends all sessions of a member, but for one, and all links for it."""
    plan.changes.sessions_over.append(SessionsOver(user.org, user.user_id, but=but))
    links = plan.changes.sign_in_links
    for key in [key for key, link in links.items() if (link.org, link.user_id) == (user.org, user.user_id)]:
        del links[key]


# Sessions


def needs_of_start(needs: Needs, principal: Principal, command: StartSession) -> None:
    """All members, and the link."""
    needs.want(Kind.MEMBERS, principal.org)
    if command.link is not None:
        needs.want(Kind.SIGN_IN_LINK, (principal.org, command.link))


def start_session(plan: Plan, principal: Principal, command: StartSession) -> SessionStarted:
    """A session of the caller. Raises Unauthenticated for a link that was used meanwhile, or a member who is gone."""
    known = {user.user_id: user for user in members(plan, principal.org)}
    user = known.get(principal.user_id)
    if user is None and command.joins is not None:
        user = _put(plan, _new_member(plan, list(known.values()), principal.user_id, principal.org, command.joins))
    if user is None:
        raise Unauthenticated(NOT_GOOD)
    if command.link is not None:
        _use_link(plan, user, command.link)
    if command.subject is not None and user.subject != command.subject:
        _put(plan, _replace(user, subject=command.subject))
    text = plan.ids.token(TOKEN_CHARS)
    digest = session_digest(command.cookie, text.encode("ascii"))
    session = Session(user.org, digest, user.user_id, plan.now, plan.now + SESSION_MS, command.address)
    plan.changes.sessions.append(session)
    return SessionStarted(session, text)


def _use_link(plan: Plan, user: User, digest: bytes) -> None:
    """Raises Unauthenticated for one that is not there for this member, was used, or is over."""
    key = (user.org, digest)
    link = _good_link(plan, user.org, digest, plan.loaded(Kind.SIGN_IN_LINK, key))
    if link is None or link.user_id != user.user_id:
        raise Unauthenticated(NOT_GOOD)
    plan.changes.sign_in_links[key] = _replace(link, used_at=plan.now)


def needs_of_end(needs: Needs, principal: Principal, command: EndSessions) -> None:
    """All members."""
    needs.want(Kind.MEMBERS, principal.org)


def end_sessions(plan: Plan, principal: Principal, command: EndSessions) -> SessionsEnded | MemberNow:
    """The caller's own session, or all of a member. Raises NotFound."""
    if command.user_id is None:
        over = SessionsOver(principal.org, principal.user_id, only=principal.digest)
        plan.changes.sessions_over.append(over)
        return SessionsEnded()
    user = member(plan, principal.org, command.user_id)
    _end_all(plan, user)
    return MemberNow(user)


def set_password(plan: Plan, principal: Principal, command: SetPassword) -> MemberNow:
    """The caller's password; its other sessions end. Raises NotFound."""
    user = member(plan, principal.org, principal.user_id)
    _end_all(plan, user, but=principal.digest)
    return MemberNow(_put(plan, _replace(user, password=command.password)))
