"""The page behind an answer link: shows what is asked, with a form. Only the form's POST answers.

Whoever opens the page changes nothing, since programs that look through mail open every link. It has no script and
nothing from elsewhere, and no style but its own. Whoever has the link may see and answer this one approval, in the name
of whom it was sent to, as long as the key that made it is good.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from towerlog.asgi.pages.approvals import html
from towerlog.asgi.pages.approvals.fields import FIELD, MAX_MEMBERS, fields_of
from towerlog.asgi.pages.approvals.fields import content_of as typed_content_of
from towerlog.asgi.pages.approvals.text import json_lines
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import HTML, Dialect, Reply, error_headers, status_of
from towerlog.dialects.fields import bounded_text, invalid_field
from towerlog.dialects.native.approvals.approvals import approval_of, content_of
from towerlog.engine.core import Engine
from towerlog.errors import (
    Invalid,
    LinkExpired,
    LinkUsed,
    Malformed,
    NotFound,
    NotWaiting,
    QuestionClosed,
    TooLarge,
    TowerlogError,
)
from towerlog.model.agent import is_blank
from towerlog.model.answer_link import NO_LINK, is_told_by, may_answer_by_link, opened
from towerlog.model.approval import AnswerApproval, AnswerLink, ApprovalDecision, ApprovalState, GetApproval
from towerlog.model.approval_views import ApprovalAnswered, ApprovalView
from towerlog.model.outcome import RunView
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import GetRun
from towerlog.model.times import spoken_ms
from towerlog.store.base import Store

PATH = "/a/{token}"
MAX_FORM_BYTES = 128 * 1024
MAX_FORM_FIELDS = MAX_MEMBERS + 10
_STYLE_HASH = base64.b64encode(hashlib.sha256(html.STYLE.encode()).digest())
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"x-robots-tag", b"noindex, nofollow"),
)


def _explain(error: TowerlogError, _trace_id: str) -> Reply:
    """A refusal as a page: who reads it is a person."""
    status = status_of(error)
    body = html.notice(_title_of(error), error.message)
    return Reply(status, body, HTML, HEADERS + error_headers(error, status))


def _title_of(error: TowerlogError) -> str:
    """What a refusal is about: the link, what was sent with it, or the server. Only the first says that it is over."""
    if isinstance(error, NotFound | LinkExpired | LinkUsed):
        return "This link cannot be used"
    return "Your answer was not taken" if status_of(error) < 500 else "The server could not do this"


_CLOSED = "This is not open any more"
_DONE = {ApprovalState.APPROVED: "approved", ApprovalState.DENIED: "denied"}
_PAGE = Dialect("links", "Answer links", (), _explain)


class AnswerLinkPages:
    """The page and its form."""

    def __init__(self) -> None:
        """Served after `attach`."""
        self._engine: Engine | None = None
        self._store: Store | None = None
        self._secret = ""

    def attach(self, engine: Engine, store: Store, secret: str) -> None:
        """`store` is asked for the key that made a link, `secret` is what links are signed with."""
        self._engine, self._store, self._secret = engine, store, secret

    def routes(self) -> tuple[PageRoute, ...]:
        """Routes by which a link shows its question and takes the answer."""
        refuses = (NotFound, LinkExpired)
        access = "No key is needed: the link is signed."
        return (
            PageRoute(
                "GET", PATH, "show_answer_link", "What is asked, with a form to answer it. Changes nothing.",
                self.show, public=True, access=access, reply_type=HTML, refuses=refuses, dialect=_PAGE,
            ),
            PageRoute(
                "POST", PATH, "use_answer_link", "Answer with the form of the link; the link is used up by it.",
                self.act, public=True, access=access, reply_type=HTML, body="form", asker=self.asker,
                refuses=(*refuses, LinkUsed, QuestionClosed, Malformed, Invalid, TooLarge), dialect=_PAGE,
            ),
        )  # fmt: skip

    async def asker(self, path: Mapping[str, str]) -> Principal:
        """Whom a link speaks for. Raises NotFound for one that is not ours, or whose key is not good any more."""
        return (await self._opened(path["token"]))[1]

    async def show(self, visit: PageVisit) -> Reply:
        """The form; or what became of it. Raises NotFound, LinkExpired."""
        link, principal = await self._opened(visit.path["token"])
        view = await self._view(link, principal)
        if view.closed is not None:
            return _page(html.notice(_CLOSED, _words_of(view)))
        self._check_time(link)
        return await self._asked(link, principal, view)

    async def act(self, visit: PageVisit) -> Reply:
        """Answers. Raises NotFound, LinkExpired, LinkUsed, QuestionClosed, NotWaiting, Invalid, Malformed, TooLarge."""
        link, principal = await self._opened(visit.path["token"])
        form = _fields(visit.body)
        assert self._engine is not None
        try:
            command = _command(link, await self._with_content(form, link, principal))
            await self._check_sure(command, form, principal)
            done = await self._engine.execute(principal, command, "native", address=visit.address)
        except (QuestionClosed, NotWaiting) as error:
            view = await self._view(link, principal)
            if view.closed is None:
                raise
            return _page(html.notice(_CLOSED, _words_of(view)), status_of(error))
        except Invalid as error:
            view = await self._view(link, principal)
            if view.closed is not None:
                return _page(html.notice(_CLOSED, _words_of(view)), 409)
            self._check_time(link)
            return await self._asked(link, principal, view, error, form)
        assert isinstance(done, ApprovalAnswered)
        return _page(html.notice("Thank you", "The agent has your answer."))

    async def _asked(
        self, link: AnswerLink, principal: Principal, view: ApprovalView, error: Invalid | None = None,
        typed: Mapping[str, str] | None = None,
    ) -> Reply:  # fmt: skip
        """The page with the form; with why the last answer was not taken, and what was in it."""
        assert self._engine is not None
        run = await self._engine.execute(principal, GetRun(view.run.run_id))
        assert isinstance(run, RunView)
        fault, status = (error.message, status_of(error)) if error else ("", 200)
        about = _text_of(run.input)
        body = html.form(approval_of(view), link.sent_to, link.expires_at, about=about, fault=fault, typed=typed)
        return _page(body, status)

    async def _with_content(self, form: Mapping[str, str], link: AnswerLink, principal: Principal) -> Mapping[str, str]:
        """The form with what was typed into fields of its schema as `content`."""
        if form.get("content") or not any(name.startswith(FIELD) for name in form):
            return form
        schema = bytes(approval_of(await self._view(link, principal)).schema)
        content = None if schema == b"null" else typed_content_of(fields_of(schema), form)
        return form if content is None else {**form, "content": content}

    async def _opened(self, token: str) -> tuple[AnswerLink, Principal]:
        link = opened(self._secret, token)
        if link is None or not await self._is_good(link):
            raise NotFound("link", NO_LINK)
        who = link.rule_id or link.key_id
        is_member, scopes = who == link.user_id, frozenset({Scope.CONTROL})
        return link, Principal(link.org, link.org_id, link.user_id, who, scopes, is_member=is_member)

    async def _is_good(self, link: AnswerLink) -> bool:
        """Whether who made it still may. An answer looks at it once more, in its own commit."""
        assert self._store is not None
        if link.rule_id:
            return is_told_by(await self._store.alert_rule(link.org, link.rule_id), link)
        return may_answer_by_link(await self._store.key_by_id(link.org, link.key_id))

    async def _view(self, link: AnswerLink, principal: Principal) -> ApprovalView:
        assert self._engine is not None
        view = await self._engine.execute(principal, GetApproval(link.ref))
        assert isinstance(view, ApprovalView)
        return view

    async def _check_sure(self, command: AnswerApproval, form: Mapping[str, str], principal: Principal) -> None:
        """Raises Invalid where a high risk was not confirmed."""
        assert command.link is not None
        if form.get("sure") or command.decision is ApprovalDecision.DENY:
            return
        view = await self._view(command.link, principal)
        if view.closed is None and approval_of(view).risk in html.RISKY:
            raise invalid_field("sure", "must be ticked: the risk is high")

    def _check_time(self, link: AnswerLink) -> None:
        assert self._engine is not None
        if self._engine.unheard.is_ended(link.expires_at):
            raise LinkExpired


def _text_of(given: bytes | None) -> str:
    """A run's input in words: a text as it is, anything else as JSON."""
    if given is None:
        return ""
    found = msgspec.json.decode(given)
    return found if isinstance(found, str) else json_lines(msgspec.Raw(given))


def _page(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body, HTML, HEADERS)


def _words_of(view: ApprovalView) -> str:
    """What became of it, in a sentence."""
    closed = view.closed
    assert closed is not None
    when = f" on {spoken_ms(closed.at)}" if closed.at is not None else ""
    if closed.state is ApprovalState.EXPIRED:
        return f"This expired{when}: nobody had answered."
    if closed.state is ApprovalState.WITHDRAWN and closed.by_name:
        return f"{closed.by_name} answered this{when}, but that reached nobody: the agent did not wait for it any more."
    if closed.state is ApprovalState.WITHDRAWN:
        return f"The agent stopped waiting for this answer{when}, or asks something else now: nobody would read it."
    if closed.state is ApprovalState.UNKNOWN:
        return "It was closed a while ago, and what became of it is no longer known."
    if closed.state is ApprovalState.ENDED:
        return f"The run ended{when}, without an answer."
    who, did = closed.by_name, _DONE.get(closed.state, "answered")
    return f"{who} {did} this{when}." if who else f"This was {did}{when}."


def _fields(body: bytes) -> Mapping[str, str]:
    if len(body) > MAX_FORM_BYTES:
        raise TooLarge(f"The form is larger than {MAX_FORM_BYTES} bytes.")
    try:
        told = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict"
        )
    except UnicodeDecodeError:
        raise Malformed("The form is not UTF-8.") from None
    except ValueError:
        raise Malformed(f"The form has more than {MAX_FORM_FIELDS} fields.") from None
    found = dict(told)
    if len(found) < len(told):
        raise Malformed("The form has a field twice.")
    return found


def _command(link: AnswerLink, form: Mapping[str, str]) -> AnswerApproval:
    reason = bounded_text(form.get("reason") or None, "reason")
    decision = form.get("decision")
    if decision is not None:
        if form.get("content"):
            raise invalid_field("content", "must not be sent together with a decision")
        if decision not in set(ApprovalDecision):
            raise invalid_field("decision", "must be approve or deny")
        return AnswerApproval(link.ref, ApprovalDecision(decision), None, reason, link)
    content = form.get("content", "").replace("\r\n", "\n")
    if is_blank(content):  # more likely sent by mistake than meant
        raise invalid_field("content", "must not be blank")
    return AnswerApproval(link.ref, None, content_of(msgspec.Raw(msgspec.json.encode(content))), reason, link)
