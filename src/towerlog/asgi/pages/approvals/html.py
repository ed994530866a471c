"""HTML of the pages behind answer links. Whatever was sent in is escaped; nothing else is put together here."""

from __future__ import annotations

from html import escape

import msgspec

from towerlog.dialects.native.approvals.approvals import ApprovalDetail
from towerlog.egress import plain
from towerlog.model.approval import ApprovalKind
from towerlog.model.times import parse_ms, spoken_ms

MAX_SHOWN_CHARS = 20_000
"""Of a question, of tool calls and of a schema on the page."""

MAX_ROW_CHARS = 200
"""Of a name beside them."""

RISKY = ("high", "critical")
"""At these risks it is asked once more, except of whoever denies."""

STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{margin:0 auto;padding:0 16px 16px;max-width:640px}"
    "h1{font-size:20px}h2{font-size:16px}"
    "h1,p,pre,li{overflow-wrap:anywhere}"
    "pre{white-space:pre-wrap;font:inherit}"
    "pre.json{font:13px/1.5 ui-monospace,monospace}"
    "input,textarea{box-sizing:border-box;width:100%;font:inherit}"
    "input[type=checkbox]{width:auto}"
    "button{font:inherit;padding:8px 16px}"
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
<p>It can be answered once, in the name of {name}.</p>"""
_DECIDE = """<p><label>Reason, if you want to give one:<br><input name="reason" maxlength="2000" ></label></p>
{sure}<p><button name="decision" value="approve">Approve</button>
<button name="decision" value="deny" formnovalidate>Deny</button></p>"""
_ANSWER = """<p><label>Your answer:<br><textarea name="content" rows="6" required></textarea></label></p>
{sure}<p><button>Send</button></p>"""
_SURE = """<p><label><input type="checkbox" name="sure" value="{risk}" required> Yes, at {risk} risk.
It is done at once, and cannot be taken back.</label></p>
"""


def notice(title: str, text: str) -> bytes:
    """A page that only says something."""
    return _framed(title, f"<p>{escape(text)}</p>")


def form(detail: ApprovalDetail, name: str, fault: str = "") -> bytes:
    """What is asked, and the form; `fault`: why the last answer was not taken."""
    is_question = detail.kind is ApprovalKind.QUESTION
    rows = [("Agent", detail.agent), ("Risk", detail.risk), ("Asked on", spoken_ms(parse_ms(detail.asked_at)))]
    if detail.expires_at is not None:
        rows += [
            ("Expires on", spoken_ms(parse_ms(detail.expires_at))),
            ("If nobody answers by then", detail.on_expiry),
        ]
    parts = [f"<p><strong>{_short(fault)}</strong></p>"] if fault else []
    if detail.question:
        parts.append(f"<pre>{_short(detail.question)}</pre>")
    for title, raw in (("Tool calls", detail.tool_calls), ("Context", detail.context)):
        if bytes(raw) != b"null":
            parts.append(f"<h2>{title}</h2><pre class='json'>{_json(raw)}</pre>")
    if bytes(detail.schema) != b"null":
        parts.append(f"<h2>The answer has to fit this JSON Schema</h2><pre class='json'>{_json(detail.schema)}</pre>")
    parts.append("<ul>" + "".join(f"<li>{word}: {_on_one_line(value)}</li>" for word, value in rows if value) + "</ul>")
    sure = _SURE.format(risk=detail.risk) if detail.risk in RISKY else ""
    inputs = (_ANSWER if is_question else _DECIDE).format(sure=sure)
    parts.append(_FORM.format(inputs=inputs, name=_on_one_line(name)))
    return _framed("An agent asks" if is_question else "An agent wants to call tools", "\n".join(parts))


def _framed(title: str, body: str) -> bytes:
    return _FRAME.format(title=escape(title), style=STYLE, body=body).encode()


def _on_one_line(text: str) -> str:
    return escape(plain.one_line(text, MAX_ROW_CHARS))


def _short(text: str) -> str:
    """Nothing hidden is left in it: a character that turns the direction could make a question read as another one."""
    return escape(plain.lines(text, MAX_SHOWN_CHARS))


def _json(raw: msgspec.Raw) -> str:
    return _short(msgspec.json.format(bytes(raw), indent=2).decode())
