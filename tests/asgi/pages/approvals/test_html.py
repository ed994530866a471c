"""The page of an answer link: whatever was sent in is text on it, and it has what its kind needs and no more."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from towerlog.asgi.pages.approvals import html
from towerlog.asgi.pages.approvals.html import MAX_SHOWN_CHARS, notice
from towerlog.asgi.pages.approvals.text import json_lines, visible
from towerlog.dialects.fields import NULL
from towerlog.dialects.native.approvals.approvals import ApprovalDetail
from towerlog.model.approval import ApprovalKind, ApprovalState, OnExpiry, Risk

NASTY = "</pre></textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{0}{name}%s"


UNTIL = 1_800_000_000_000


def form(one: ApprovalDetail, name: str, fault: str = "", **more: Any) -> bytes:
    return html.form(one, name, UNTIL, fault=fault, **more)


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
HARMLESS |= {
    "textarea",
    "input",
    "button",
    "strong",
    "style",
    "span",
    "small",
    "details",
    "summary",
    "select",
    "option",
}


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
    assert "⟨U+202E⟩reversed ⟨ESC⟩[2J ⟨ZWSP⟩" in page


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


def test_the_link_says_until_when_it_is_good_and_what_the_run_began_with() -> None:
    page = Tags(form(detail(), "ada", about="Refund order 7")).text
    assert "This link is for ada. It can be used once, until 15 January 2027 at 08:00 UTC." in page
    assert "The run began with: Refund order 7" in page


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (rb'{"\u5ba2\u6237": "\u738b"}', '"客户": "王"'),
        (rb'["\ud83d\ude00"]', '"😀"'),
        (rb'["a\\u0041"]', r'"a\\u0041"'),
        (rb'["\u0022\u005c\n\u0007"]', r'"\u0022\u005c\n\u0007"'),
        (b"[1.10]", "1.10"),
    ],
)
def test_json_is_shown_by_its_characters(sent: bytes, shown: str) -> None:
    assert shown in json_lines(msgspec.Raw(sent))


def test_a_joined_emoji_stays_and_a_joiner_elsewhere_is_shown() -> None:
    family = "\U0001f469\u200d\U0001f680 \u2764\ufe0f\u200d\U0001f525"
    assert visible(family, 99) == family
    assert visible("a\u200db", 99) == "a⟨U+200D⟩b"


def asked(schema: Any, **more: Any) -> Tags:
    return Tags(form(detail(schema=msgspec.Raw(msgspec.json.encode(schema)), risk=Risk.HIGH), "ada", **more))


def attributes(page: Tags, tag: str) -> list[dict[str, str | None]]:
    return [found for name, found in page.tags if name == tag]


def test_few_choices_are_buttons_and_many_a_list() -> None:
    few = asked({"enum": ["是", "否", True]})
    assert [one.get("value") for one in attributes(few, "button")] == ['"是"', '"否"', "true"]
    assert "是\n否\nYes" in few.text
    many = asked({"enum": [f"choice {n}" for n in range(20)]}, typed={"content": '"choice 7"'})
    assert [one["value"] for one in attributes(many, "option") if "selected" in one] == ['"choice 7"']


OBJECT = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "maximum": 50, "title": "How much"},
        "why": {"type": "string"},
        "fast": {"type": "boolean"},
        "tags": {"type": "array"},
    },
    "required": ["amount"],
}
UNFIT = 'content: does not fit the schema of the question: "n" is a required property'


def test_an_object_has_fields_and_keeps_what_was_typed() -> None:
    typed = {"field.0": "seventy", "field.1": "be<cause", "field.2": "false", "field.3": "[1]", "sure": "high"}
    page = asked(OBJECT, typed=typed, fault=UNFIT)
    assert inputs(page) >= {"field.0", "field.1", "field.3", "sure"}
    assert {one["name"]: one.get("value") for one in attributes(page, "input")} == {
        "field.0": "seventy", "field.1": "be<cause", "sure": "high",
    }  # fmt: skip
    assert "checked" in attributes(page, "input")[-1]
    assert [one["value"] for one in attributes(page, "option") if "selected" in one] == ["false"]
    assert "How much:" in page.text
    assert "a whole number, at most 50" in page.text
    assert "why (optional):" in page.text
    assert "[1]" in page.text
    assert "n is missing." in page.text


def test_what_has_no_fields_is_shown_by_an_example() -> None:
    page = asked({"type": "array", "items": {"type": "object", "properties": {"amount": {"type": "integer"}}}})
    assert "Write it as in this form:" in page.text
    assert '"amount": 1' in page.text
    assert inputs(page) == {"content", "sure"}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"enum": []},
        {"type": "object", "properties": {"a": {}}, "required": [[1]]},
        {"type": ["string"]},
        {"oneOf": [1]},
    ],
)
def test_any_schema_has_a_page(schema: Any) -> None:
    assert inputs(asked(schema)) & {"content", "field.0"}
