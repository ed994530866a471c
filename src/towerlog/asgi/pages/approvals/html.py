"""HTML of the pages behind answer links. Whatever was sent in is escaped; nothing else is put together here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

import msgspec

from towerlog.asgi.pages.approvals.fields import Choice, Field, example_of, fields_of
from towerlog.asgi.pages.approvals.text import json_lines, visible
from towerlog.dialects.native.approvals.approvals import ApprovalDetail
from towerlog.egress import plain
from towerlog.model.approval import ApprovalKind
from towerlog.model.times import parse_ms, spoken_ms

MAX_SHOWN_CHARS = 20_000
"""Characters shown of a question, of tool calls and of a schema."""

MAX_ROW_CHARS = 200
"""Characters shown of a name, and of the words of a choice or a field."""

MAX_BUTTONS = 8
"""Up to so many choices are buttons."""

MAX_INPUT_CHARS = 500
"""Characters shown of the input of the run."""

RISKY = ("high", "critical")
"""At these risks it is asked once more, except of whoever denies."""

STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{margin:0 auto;padding:0 16px 16px;max-width:640px}"
    "h1{font-size:20px}h2{font-size:16px}"
    "h1,p,pre,li,button,summary{overflow-wrap:anywhere}"
    "pre,.own,button{unicode-bidi:plaintext}"
    "pre{white-space:pre-wrap;font:inherit}"
    "pre.json{font:13px/1.5 ui-monospace,monospace}"
    "input,textarea,select{box-sizing:border-box;width:100%;padding:8px;font:inherit}"
    "input[type=checkbox]{width:auto}"
    "button{font:inherit;padding:8px 16px;min-height:44px;margin:0 12px 12px 0;max-width:100%}"
    "small{display:block}"
)
"""All the style of the page, which the policy allows by its hash: text wraps on the narrowest phone."""

_FRAME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{style}</style></head>
<body><main>
<h1>{title}</h1>
{body}
</main></body>
</html>
"""
_FORM = """<form method="post">
{inputs}
</form>
<p>This link is for {name}. It can be used once, until {until}.</p>"""
_REASON = """<p><label>Reason, if you want to give one:<br><input name="reason" maxlength="2000" dir="auto" \
value="{reason}"></label></p>"""
_DECIDE = """<p><button name="decision" value="approve">Approve</button>
<button name="decision" value="deny" formnovalidate>Deny</button></p>"""
_SEND = "<p><button>Send</button></p>"
_SURE = """<p><label><input type="checkbox" name="sure" value="{risk}" required{ticked}> I am sure: the risk is {risk},
and this cannot be undone.</label></p>
"""
_MISSING = re.compile(r'^"(.+)" is a required property(?: \(at (.+)\))?$')
_UNFIT = "content: does not fit the schema of the question"
_FAULTS = {
    "content: must not be blank": "Write an answer.",
    "sure: must be ticked": "Tick the box first: the risk is high.",
}


def notice(title: str, text: str) -> bytes:
    """A page that only says something."""
    return _framed(title, f"<p>{escape(text)}</p>")


def form(
    detail: ApprovalDetail,
    name: str,
    until: int,
    *,
    about: str = "",
    fault: str = "",
    typed: Mapping[str, str] | None = None,
) -> bytes:
    """What is asked, and the form.

    `until`: wall ms when the link ends. `about`: what the run began with. `fault`: why the last answer was not taken,
    and `typed`: what was in it.
    """
    is_question = detail.kind is ApprovalKind.QUESTION
    rows = [("Agent", detail.agent), ("Risk", detail.risk), ("Asked on", spoken_ms(parse_ms(detail.asked_at)))]
    if detail.expires_at is not None:
        rows += [
            ("Expires on", spoken_ms(parse_ms(detail.expires_at))),
            ("If nobody answers by then", detail.on_expiry),
        ]
    rows += [("The run began with", plain.cut(about, MAX_INPUT_CHARS)), ("Run", detail.run_id)]
    parts = [f'<p role="alert"><strong>{_seen(_said(fault))}</strong></p>'] if fault else []
    if detail.question:
        parts.append(f"<pre>{_seen(detail.question)}</pre>")
    for title, raw in (("Tool calls", detail.tool_calls), ("Context", detail.context)):
        if bytes(raw) != b"null":
            parts.append(f"<h2>{title}</h2><pre class='json'>{_seen(json_lines(raw))}</pre>")
    items = "".join(f"<li>{word}: <span class='own'>{_seen(value)}</span></li>" for word, value in rows if value)
    parts.append(f"<ul>{items}</ul>")
    inputs = _inputs(detail, typed or {}) if is_question else _decision(detail, typed or {})
    parts.append(_FORM.format(inputs=inputs, name=_on_one_line(name), until=spoken_ms(until)))
    return _framed("An agent asks" if is_question else "An agent wants to call tools", "\n".join(parts))


def _decision(detail: ApprovalDetail, typed: Mapping[str, str]) -> str:
    return _REASON.format(reason=escape(typed.get("reason", ""))) + _sure(detail, typed) + _DECIDE


def _inputs(detail: ApprovalDetail, typed: Mapping[str, str]) -> str:
    if bytes(detail.schema) == b"null":
        return _labelled(Field("content", "long", "Your answer"), typed) + _sure(detail, typed) + _SEND
    fields = fields_of(bytes(detail.schema))
    (first, *_) = fields
    if first.kind == "choice" and not first.member and len(first.choices) <= MAX_BUTTONS:
        return _sure(detail, typed) + f"<p>{''.join(map(_button, first.choices))}</p>"
    shown = "".join(_labelled(field, typed) for field in fields)
    if first.kind == "json" and not first.member:
        example = _seen(json_lines(msgspec.Raw(example_of(bytes(detail.schema)).encode())))
        schema = f"<summary>Its JSON Schema</summary><pre class='json'>{_seen(json_lines(detail.schema))}</pre>"
        shown = f"<p>Write it as in this form:</p><pre class='json'>{example}</pre>{shown}<details>{schema}</details>"
    return shown + _sure(detail, typed) + _SEND


def _labelled(field: Field, typed: Mapping[str, str]) -> str:
    """A field under its name, with what was typed into it."""
    given, name = typed.get(field.name, ""), escape(field.name)
    required = " required" if (field.is_required and field.kind != "json") or field.name == "content" else ""
    if field.kind == "choice":
        chosen = ((choice, " selected" if choice.value == given else "") for choice in field.choices)
        options = "".join(
            f'<option value="{escape(c.value)}"{mark}>{_on_one_line(c.words)}</option>' for c, mark in chosen
        )
        control = f'<select name="{name}"{required}><option value="">–</option>{options}</select>'
    elif field.kind in ("long", "json"):
        control = f'<textarea name="{name}" rows="6" dir="auto"{required}>\n{escape(given)}</textarea>'
    else:
        mode = ' inputmode="decimal"' if field.kind == "number" else ""
        control = f'<input name="{name}" value="{escape(given)}" dir="auto" autocomplete="off"{mode}{required}>'
    optional = "" if field.is_required else " (optional)"
    hint = f"<small>{_on_one_line(field.hint)}</small>" if field.hint else ""
    return f"<p><label>{_on_one_line(field.words)}{optional}:<br>{control}</label>{hint}</p>"


def _button(choice: Choice) -> str:
    return f'<button name="content" value="{escape(choice.value)}">{_on_one_line(choice.words)}</button>\n'


def _sure(detail: ApprovalDetail, typed: Mapping[str, str]) -> str:
    if detail.risk not in RISKY:
        return ""
    return _SURE.format(risk=detail.risk, ticked=" checked" if typed.get("sure") else "")


def _said(fault: str) -> str:
    """A refusal for whoever has filled in a form."""
    for begins, words in _FAULTS.items():
        if fault.startswith(begins):
            return words
    if not fault.startswith(_UNFIT):
        return fault
    why = fault.removeprefix(_UNFIT).removeprefix(": ")
    missing = _MISSING.match(why)
    if missing:
        return f"{'.'.join(filter(None, (missing[2], missing[1])))} is missing."
    return f"This does not fit: {why}" if why else "This does not fit what was asked."


def _framed(title: str, body: str) -> bytes:
    return _FRAME.format(title=escape(title), style=STYLE, body=body).encode()


def _on_one_line(text: str) -> str:
    return visible(" ".join(text.split()), MAX_ROW_CHARS)


def _seen(text: str) -> str:
    """Nothing hides in it: a character that turns the direction could make a question read as another one."""
    return visible(text, MAX_SHOWN_CHARS)
