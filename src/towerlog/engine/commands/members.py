"""Members: who may sign in and as what, the links and sessions by which they do, and the password that each sets."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict, NotFound, Unauthenticated
from towerlog.model.member import (
    MAX_MEMBERS,
    SESSION_MS,
    TOKEN_CHARS,
    ChangeMember,
    CreateMember,
    EndSession,
    EndSessions,
    EndSignInLink,
    MakeSignInLink,
    MemberNow,
    RemoveMember,
    Session,
    SessionEnded,
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
from towerlog.store.lookup_keys import MemberCounts
from towerlog.store.values import Kind

NOT_GOOD = "This does not sign you in, or not any more."
_replace = msgspec.structs.replace


def needs_of_create(needs: Needs, principal: Principal, command: CreateMember) -> None:
    """How many there are, whose the names are, and whether that is this very member."""
    needs.want(Kind.MEMBER_COUNTS, principal.org)
    for name in _folded(command.name, command.email):
        owner = needs.want(Kind.MEMBER_NAME, (principal.org, name))
        if owner is not None:
            needs.want(Kind.USER, (principal.org, owner))


def needs_of_change(needs: Needs, principal: Principal, command: ChangeMember) -> None:
    """The member, whose the names are, and how many administrators there are."""
    needs.want(Kind.USER, (principal.org, command.user_id))
    needs.want(Kind.MEMBER_COUNTS, principal.org)
    email = None if isinstance(command.email, msgspec.UnsetType) else command.email
    for name in _folded(command.name, email):
        needs.want(Kind.MEMBER_NAME, (principal.org, name))


def needs_of_removal(needs: Needs, principal: Principal, command: RemoveMember) -> None:
    """The member, and how many administrators there are."""
    needs.want(Kind.USER, (principal.org, command.user_id))
    needs.want(Kind.MEMBER_COUNTS, principal.org)


def needs_of_password(needs: Needs, principal: Principal, command: SetPassword) -> None:
    """The caller."""
    needs.want(Kind.USER, (principal.org, principal.user_id))


def _folded(*names: str | None) -> set[str]:
    return {name.casefold() for name in names if name}


def member_or_none(plan: Plan, org: int, user_id: str) -> User | None:
    """One member as this group has left it."""
    found: User | None = plan.changes.users.get((org, user_id)) or plan.loaded(Kind.USER, (org, user_id))
    return None if found is None or found.removed_at is not None else found


def member(plan: Plan, org: int, user_id: str) -> User:
    """The same. Raises NotFound."""
    found = member_or_none(plan, org, user_id)
    if found is None:
        raise NotFound("member")
    return found


def create_member(plan: Plan, principal: Principal, command: CreateMember) -> MemberNow:
    """A member without a password; one that is there with all the same is that one.

    Raises Conflict past MAX_MEMBERS, and for a name or an address that is taken.
    """
    org = principal.org
    owner = _owner(plan, org, command.name.casefold())
    known = None if owner is None else member_or_none(plan, org, owner)
    wanted = (command.name, command.email, command.role)
    if known is not None and (known.name, known.email, known.role) == wanted:
        return MemberNow(known)
    return MemberNow(_put(plan, _new_member(plan, plan.ids.uuid(), org, command)), created=True)


def _new_member(plan: Plan, user_id: str, org: int, command: CreateMember) -> User:
    if _counts(plan, org).members >= MAX_MEMBERS:
        raise Conflict(f"The organisation has {MAX_MEMBERS} members: no more are kept.")
    user = User(org, user_id, command.name, command.email, plan.now_ms, command.role)
    _check_free(plan, user, ("name", "email"))
    return user


def change_member(plan: Plan, principal: Principal, command: ChangeMember) -> MemberNow:
    """The member with what was given. Raises NotFound, Conflict."""
    user = member(plan, principal.org, command.user_id)
    email = user.email if isinstance(command.email, msgspec.UnsetType) else command.email
    changed = _replace(user, name=command.name or user.name, role=command.role or user.role, email=email)
    if changed == user:
        return MemberNow(user)
    _check_free(plan, changed, [name for name in ("name", "email") if getattr(changed, name) != getattr(user, name)])
    if changed.role is not Role.ADMIN:
        _check_admin_left(plan, user)
    return MemberNow(_put(plan, changed))


def remove_member(plan: Plan, principal: Principal, command: RemoveMember) -> MemberNow:
    """The member, who is none any more. Raises NotFound, and Conflict for the last administrator."""
    user = member(plan, principal.org, command.user_id)
    _check_admin_left(plan, user)
    _end_all(plan, user)
    return MemberNow(_put(plan, _replace(user, removed_at=plan.now_ms, password=None)))


def _put(plan: Plan, user: User) -> User:
    plan.changes.users[user.org, user.user_id] = user
    return user


def _owner(plan: Plan, org: int, name: str) -> str | None:
    """Whose a name or an address is, without its case, as this group has left it."""
    for (of, user_id), user in plan.changes.users.items():
        if of == org and user.removed_at is None and name in user.folded_names():
            return user_id
    owner: str | None = plan.loaded(Kind.MEMBER_NAME, (org, name))
    return None if owner is None or (org, owner) in plan.changes.users else owner


def _counts(plan: Plan, org: int) -> MemberCounts:
    """How many members and administrators there are, as this group has left it."""
    count, admins = plan.loaded(Kind.MEMBER_COUNTS, org)
    for key, user in plan.changes.users.items():
        if key[0] == org:
            # One that is not known is new.
            before: User | None = plan.loaded(Kind.USER, key) if plan.known.has(Kind.USER, key) else None
            count += _is_member(user) - _is_member(before)
            admins += _is_member(user, Role.ADMIN) - _is_member(before, Role.ADMIN)
    return MemberCounts(count, admins)


def _is_member(user: User | None, role: Role | None = None) -> bool:
    return user is not None and user.removed_at is None and role in (None, user.role)


def _check_free(plan: Plan, user: User, fields: Iterable[str]) -> None:
    """Raises Conflict where another member signs in under the same name or address, in any case of letters."""
    for field in fields:
        name = getattr(user, field)
        if name and _owner(plan, user.org, name.casefold()) not in (None, user.user_id):
            raise Conflict(f"Another member has this {field}.", field=field)


def _check_admin_left(plan: Plan, user: User) -> None:
    """Raises Conflict where nobody else is an administrator."""
    if user.role is Role.ADMIN and _counts(plan, user.org).admins <= 1:
        raise Conflict("This is the last member with the role admin: give somebody else the role first.")


# Links


def needs_of_link(needs: Needs, principal: Principal, command: MakeSignInLink) -> None:
    """The member."""
    needs.want(Kind.USER, (principal.org, command.user_id or principal.user_id))


def make_link(plan: Plan, principal: Principal, command: MakeSignInLink) -> SignInLinkMade:
    """A link for a member. Raises NotFound."""
    user = member(plan, principal.org, command.user_id or principal.user_id)
    token = plan.ids.token(TOKEN_CHARS)
    until, by = plan.now_ms + command.lifetime_ms, principal.key_id
    link = SignInLink(user.org, plan.ids.uuid(), link_digest(token), user.user_id, plan.now_ms, until, by)
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
    link = plan.changes.sign_in_links[org, link.digest] = _replace(link, used_at=plan.now_ms)
    return SignInLinkEnded(link)


def _good_link(plan: Plan, org: int, digest: bytes, stored: SignInLink | None) -> SignInLink | None:
    """A link as this group has left it; None for one that was used, is over, or whose maker may make none any more."""
    key = (org, digest)
    link = plan.changes.sign_in_links.get(key, stored)
    if link is None or link.used_at is not None or link.expires_at <= plan.now_ms:
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
    """The member, or all that a new one needs; and the link."""
    needs.want(Kind.USER, (principal.org, principal.user_id))
    if command.joins is not None:
        needs_of_create(needs, principal, command.joins)
    if command.link is not None:
        needs.want(Kind.SIGN_IN_LINK, (principal.org, command.link))


def start_session(plan: Plan, principal: Principal, command: StartSession) -> SessionStarted:
    """A session of the caller. Raises Unauthenticated for a link that was used meanwhile, or a member who is gone."""
    user = member_or_none(plan, principal.org, principal.user_id)
    if user is None and command.joins is not None:
        user = _put(plan, _new_member(plan, principal.user_id, principal.org, command.joins))
    if user is None:
        raise Unauthenticated(NOT_GOOD)
    if command.link is not None:
        _use_link(plan, user, command.link)
    if command.subject is not None and user.subject != command.subject:
        _put(plan, _replace(user, subject=command.subject))
    text = plan.ids.token(TOKEN_CHARS)
    digest = session_digest(command.cookie, text.encode("ascii"))
    until = plan.now_ms + min(command.idle_ms, SESSION_MS)
    session = Session(user.org, digest, user.user_id, plan.now_ms, until, command.address, plan.ids.uuid(), plan.now_ms)
    plan.changes.sessions.append(session)
    return SessionStarted(session, text)


def _use_link(plan: Plan, user: User, digest: bytes) -> None:
    """Raises Unauthenticated for one that is not there for this member, was used, or is over."""
    key = (user.org, digest)
    link = _good_link(plan, user.org, digest, plan.loaded(Kind.SIGN_IN_LINK, key))
    if link is None or link.user_id != user.user_id:
        raise Unauthenticated(NOT_GOOD)
    plan.changes.sign_in_links[key] = _replace(link, used_at=plan.now_ms)


def needs_of_one_end(needs: Needs, principal: Principal, command: EndSession) -> None:
    """The session."""
    needs.want(Kind.SESSION, (principal.org, command.session_id))


def end_session(plan: Plan, principal: Principal, command: EndSession) -> SessionEnded:
    """One session is over. Raises NotFound, also for one that is over, and for another member's where that counts."""
    session: Session | None = plan.loaded(Kind.SESSION, (principal.org, command.session_id))
    if session is None or session.expires_at <= plan.now_ms or _has_ended(plan, session):
        raise NotFound("session")
    if command.user_id not in (None, session.user_id):
        raise NotFound("session")
    plan.changes.sessions_over.append(SessionsOver(session.org, session.user_id, only=session.digest))
    return SessionEnded(session)


def _has_ended(plan: Plan, session: Session) -> bool:
    """Whether this group has ended it."""
    return any(
        (over.org, over.user_id) == (session.org, session.user_id)
        and (over.only == session.digest if over.only is not None else over.but != session.digest)
        for over in plan.changes.sessions_over
    )


def needs_of_end(needs: Needs, principal: Principal, command: EndSessions) -> None:
    """The member whose they are, where they are all of one."""
    if command.user_id is not None:
        needs.want(Kind.USER, (principal.org, command.user_id))


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
