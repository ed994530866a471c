"""One notice in the shapes of Slack, Discord and Microsoft Teams: bodies for the webhooks that those hand out.

What a notice says was written by others: each shape shows it as it is, so that nobody is mentioned, no link is made and
nothing is formatted by it. Lengths are counted after escaping, in UTF-16 units, and keep within each service's limits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from towerlog.egress.plain import ELLIPSIS, one_line, units

MAX_LINES = 25
"""Of a notice; Discord's limit for the fields of an embed."""
MAX_NOTICE_CHARS = 5500
"""Of all texts of a notice together. Discord allows 6,000; Teams 28 KB, a character being up to 3 bytes."""
MAX_LINE_NAME_CHARS = 200
MAX_LINE_VALUE_CHARS = 1024
"""Discord's limit for the value of a field."""
MAX_SLACK_TITLE_CHARS = 150
MAX_TITLE_CHARS = 256
MAX_LINK_CHARS = 2000

_SLACK_FIELDS = 10
"""Of one section."""
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
_NOTHING = "–"
"""Stands for an empty text, which the services refuse."""
_APART = "\u200b"


class Severity(StrEnum):
    """How a notice is coloured."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    RECOVERED = "recovered"


class Notice(msgspec.Struct, frozen=True):
    """What is to be told, without a shape. Texts may be of any length and hold anything."""

    title: str
    lines: tuple[tuple[str, str], ...]
    """(name, value) in the order in which they are shown."""
    severity: Severity
    link: str | None = None
    """An address of this server's own pages; one that is no plain http(s) URL is left out."""
    link_words: str = "Open in Towerlog"
    """Of this program's own."""


def slack_body(notice: Notice) -> bytes:
    """For an incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat)."""
    title = _fitted(notice.title, MAX_SLACK_TITLE_CHARS, _for_slack)
    fields = [_slack_text(f"{name}\n{value}") for name, value in _fields(notice, _for_slack)]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _slack_text(title)}]
    blocks += [
        {"type": "section", "fields": fields[at : at + _SLACK_FIELDS]} for at in range(0, len(fields), _SLACK_FIELDS)
    ]
    if link := _link(notice):
        shown = f"<{_for_slack(link)}|{notice.link_words}>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown}})
    quiet = {"parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
    return msgspec.json.encode({"text": title, "blocks": blocks, **quiet})


def discord_body(notice: Notice) -> bytes:
    """For a webhook of Discord: one embed, and nobody may be mentioned by it."""
    embed: dict[str, Any] = {
        "title": _fitted(notice.title, MAX_TITLE_CHARS, _for_discord),
        "color": DISCORD_COLOURS[notice.severity],
        "fields": [{"name": name, "value": value} for name, value in _fields(notice, _for_discord)],
    }
    if link := _link(notice):
        embed["url"] = link
    return msgspec.json.encode({"embeds": [embed], "allowed_mentions": {"parse": []}})


def teams_body(notice: Notice) -> bytes:
    """For a webhook of a workflow of Microsoft Teams: an Adaptive Card of runs of text, which know no Markdown."""
    title = {"text": _fitted(notice.title, MAX_TITLE_CHARS, _for_teams), "weight": "Bolder", "size": "Large"}
    rows = [_runs({**title, "color": TEAMS_COLOURS[notice.severity]})]
    rows += [
        _runs({"text": f"{name}: ", "weight": "Bolder"}, {"text": value}) for name, value in _fields(notice, _for_teams)
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": rows,
    }
    if link := _link(notice):
        card["actions"] = [{"type": "Action.OpenUrl", "title": notice.link_words, "url": link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


CHAT_BODIES: Mapping[str, Callable[[Notice], bytes]] = {
    "slack": slack_body,
    "discord": discord_body,
    "teams": teams_body,
}
"""Type of a channel → the body that is posted to its webhook, as `application/json`."""
DISCORD_COLOURS: Mapping[Severity, int] = {
    Severity.INFO: 0x3B82F6,
    Severity.WARNING: 0xF59E0B,
    Severity.CRITICAL: 0xDC2626,
    Severity.RECOVERED: 0x16A34A,
}
TEAMS_COLOURS: Mapping[Severity, str] = {
    Severity.INFO: "Accent",
    Severity.WARNING: "Warning",
    Severity.CRITICAL: "Attention",
    Severity.RECOVERED: "Good",
}

_SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""What Slack's rules ask for: mentions, channels and links all begin with <."""
_DISCORD_ESCAPES = str.maketrans({mark: f"\\{mark}" for mark in "\\*_~`|>#-+[]()<:@&!"})
"""Marks of Discord's Markdown, and those that begin mentions, emoji, times and links."""


def _for_slack(text: str) -> str:
    return text.translate(_SLACK_ESCAPES)


def _for_discord(text: str) -> str:
    return text.translate(_DISCORD_ESCAPES)


def _for_teams(text: str) -> str:
    """A pair of braces would be taken for a function of the card, such as a date."""
    return text.replace("{", "{" + _APART)


def _fitted(text: str, max_units: int, escape: Callable[[str], str]) -> str:
    """On one line and escaped, whole characters of it, within the limit; never empty."""
    line = one_line(text, max_units)
    if units(escape(line)) <= max_units:
        return escape(line) or _NOTHING
    parts, left = [], max_units - len(ELLIPSIS)
    for character in line:
        piece = escape(character)
        left -= units(piece)
        if left < 0:
            break
        parts.append(piece)
    return "".join(parts) + ELLIPSIS


def _fields(notice: Notice, escape: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """The lines that fit into MAX_LINES and MAX_NOTICE_CHARS; where some do not, the last says how many."""
    left, shown = MAX_NOTICE_CHARS - MAX_TITLE_CHARS - MAX_LINE_NAME_CHARS, 0
    for name, value in notice.lines[: MAX_LINES if len(notice.lines) <= MAX_LINES else MAX_LINES - 1]:
        field = _fitted(name, MAX_LINE_NAME_CHARS, escape), _fitted(value, MAX_LINE_VALUE_CHARS, escape)
        left -= sum(map(units, field))
        if left < 0:
            break
        shown += 1
        yield field
    if missing := len(notice.lines) - shown:
        yield ELLIPSIS, f"{missing} more"


def _link(notice: Notice) -> str | None:
    link = notice.link
    return link if link and len(link) <= MAX_LINK_CHARS and _LINK.fullmatch(link) else None


def _slack_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}
