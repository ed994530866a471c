"""The page of an answer link: whatever was sent in is text on it, and it has what its kind needs and no more."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from towerlog.asgi.pages.approvals.html import MAX_SHOWN_CHARS, form, notice
from towerlog.dialects.fields import NULL
from towerlog.dialects.native.approvals.approvals import ApprovalDetail
from towerlog.model.approval import ApprovalKind, ApprovalState, OnExpiry, Risk

NASTY = "</pre></textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{0}{name}%s"


def detail(kind: ApprovalKind = ApprovalKind.QUESTION, **given: Any) -> ApprovalDetail:
    known: dict[str, Any] = {
        **dict.fromkeys(ApprovalDetail.__struct_fields__),
        **dict.fromkeys(("context", "tool_calls", "schema"), NULL),
        "approval_id": "r.q4", "kind": kind, "state": ApprovalState.OPEN, "asked_at": "2026-11-29T07:51:09Z",
        "on_expiry": OnExpiry.WAIT,
    }  # fmt: skip
    return ApprovalDetail(**{**known, **given})


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HARMLESS = {"html", "head", "meta", "title", "body", "main", "h1", "h2", "p", "pre", "ul", "li", "form", "label", "br"}
HARMLESS |= {"textarea", "input", "button", "strong", "style"}


@pytest.mark.parametrize("kind", list(ApprovalKind))
def test_what_was_sent_in_is_text_on_the_page(kind: ApprovalKind) -> None:
    raw = msgspec.Raw(msgspec.json.encode({NASTY: [NASTY]}))
    page = Tags(form(detail(kind, question=NASTY, context=raw, tool_calls=raw, schema=raw, agent=NASTY), NASTY, NASTY))
    assert {tag for tag, _ in page.tags} <= HARMLESS
    assert not any(
        name.startswith("on") or name in ("src", "href", "style", "action") for _, a in page.tags for name in a
    )
    assert page.text.count(NASTY) >= 4
    assert NASTY in Tags(notice(NASTY, NASTY)).text


HIDDEN = "\u202ereversed \x1b[2J \u200b"


@pytest.mark.parametrize("kind", ApprovalKind)
def test_nothing_hidden_is_left_in_what_a_person_reads(kind: ApprovalKind) -> None:
    raw = msgspec.Raw(msgspec.json.encode({"to": HIDDEN}))
    page = form(detail(kind, question=HIDDEN, context=raw, tool_calls=raw, schema=raw), "ada").decode()
    assert "reversed" in page
    assert not {"\u202e", "\x1b", "\u200b"} & {*page}


def inputs(page: Tags) -> set[str | None]:
    return {found.get("name") for tag, found in page.tags if tag in ("input", "textarea", "button") and "name" in found}


def test_a_question_is_answered_and_tool_calls_are_decided_about() -> None:
    assert inputs(Tags(form(detail(), "ada"))) == {"content"}
    assert inputs(Tags(form(detail(ApprovalKind.APPROVAL), "ada"))) == {"reason", "decision"}


def test_who_decides_sees_risk_and_expiry() -> None:
    text = Tags(
        form(detail(risk=Risk.CRITICAL, expires_at="2027-01-02T03:04:05Z", on_expiry=OnExpiry.CANCEL), "ada")
    ).text
    assert "critical" in text
    assert "Asked on: 29 November 2026 at 07:51 UTC" in text
    assert "Expires on: 2 January 2027 at 03:04 UTC" in text
    assert "cancel" in text
    assert "If nobody answers" not in Tags(form(detail(), "ada")).text


def test_a_long_question_is_shown_by_its_beginning() -> None:
    page = form(detail(question="x" * (MAX_SHOWN_CHARS + 1)), "ada")
    assert b"x" * (MAX_SHOWN_CHARS - 1) + "…".encode() in page
