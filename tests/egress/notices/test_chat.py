"""Notices in the shapes of the chat services: what is shown, what does nothing, and the services' limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.egress.receivers import ORG, answer_of, outside, receiving
from tests.support.tables import table
from towerlog.egress.notices.chat import CHAT_BODIES, MAX_LINES, Notice, Severity
from towerlog.egress.plain import units

NOTICE = Notice(
    "Budget of 'crawler' is at 80 %",
    (("Agent", "crawler"), ("Spent", "$4.00 of $5.00"), ("Run", "01a2b3")),
    Severity.WARNING,
    "https://tower.example.com/runs/01a2b3?tab=cost&x=1",
)

MENTIONS = [
    *("<!channel>", "<!here|here>", "<@U012AB3CD>", "<#C012AB3CD>", "<!subteam^SAZ94GDB8>", "<https://evil.example|x>"),
    *("@everyone", "@here", "<@123456789012345678>", "<@&123456789012345678>", "<#123456789012345678>", "@channel"),
    *("<t:1618953630:R>", "<:smile:123>", "</ban:123>", "[x](https://evil.example)", "**b** _i_ ~~s~~ `c` ||s||"),
    *("# big", "> quote", ">>> quote", "- item", "<at>Ada</at>", "{{DATE(2026-01-01T00:00:00Z)}}", "&lt;!channel&gt;"),
]


def body(kind: str, notice: Notice = NOTICE) -> Any:
    return json.loads(CHAT_BODIES[kind](notice))


def texts(value: Any) -> Iterator[str]:
    """Every text in a body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def test_the_body_for_slack() -> None:
    assert body("slack") == {
        "text": "Budget of 'crawler' is at 80 %",
        "blocks": [
            {"type": "header", "text": plain("Budget of 'crawler' is at 80 %")},
            {
                "type": "section",
                "fields": [plain("Agent\ncrawler"), plain("Spent\n$4.00 of $5.00"), plain("Run\n01a2b3")],
            },
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "<https://tower.example.com/runs/01a2b3?tab=cost&amp;x=1|Open in Towerlog>",
                },
            },
        ],
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def test_the_body_for_discord() -> None:
    assert body("discord") == {
        "embeds": [
            {
                "title": "Budget of 'crawler' is at 80 %",
                "url": NOTICE.link,
                "color": 0xF59E0B,
                "fields": [
                    {"name": "Agent", "value": "crawler"},
                    {"name": "Spent", "value": "$4.00 of $5.00"},
                    {"name": "Run", "value": "01a2b3"},
                ],
            }
        ],
        "allowed_mentions": {"parse": []},
    }


def test_the_body_for_teams() -> None:
    [attachment] = body("teams")["attachments"]
    assert body("teams")["type"] == "message"
    assert (attachment["contentType"], attachment["contentUrl"]) == ("application/vnd.microsoft.card.adaptive", None)
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {row["type"] for row in card["body"]} == {"RichTextBlock"}
    rows = [[run["text"] for run in row["inlines"]] for row in card["body"]]
    assert rows == [
        ["Budget of 'crawler' is at 80 %"],
        ["Agent: ", "crawler"],
        ["Spent: ", "$4.00 of $5.00"],
        ["Run: ", "01a2b3"],
    ]
    assert card["body"][0]["inlines"][0]["color"] == "Warning"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Towerlog", "url": NOTICE.link}]


@pytest.mark.parametrize("kind", CHAT_BODIES)
def test_each_severity_has_its_colour(kind: str) -> None:
    bodies = {CHAT_BODIES[kind](Notice("t", (), severity)) for severity in Severity}
    assert len(bodies) == (1 if kind == "slack" else len(Severity))


@pytest.mark.parametrize("text", MENTIONS)
def test_in_slack_no_text_is_more_than_text(text: str) -> None:
    sent = body("slack", Notice(text, ((text, text),), Severity.INFO))
    assert not [one for one in texts(sent) if "<" in one or ">" in one or re.search(r"&(?!(amp|lt|gt);)", one)]
    assert sent["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@pytest.mark.parametrize("text", MENTIONS)
def test_in_discord_no_text_is_more_than_text(text: str) -> None:
    sent = body("discord", Notice(text, ((text, text),), Severity.INFO))
    assert sent["allowed_mentions"] == {"parse": []}
    [embed] = sent["embeds"]
    for shown in (embed["title"], *embed["fields"][0].values()):
        assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", shown) == text
        bare = re.sub(r"\\[^0-9A-Za-z\s]", "", shown)
        assert not set(bare) & set("*_~`|<>@#[]()\\")


@pytest.mark.parametrize("text", MENTIONS)
def test_in_teams_no_text_is_more_than_text(text: str) -> None:
    sent = body("teams", Notice(text, ((text, text),), Severity.INFO))
    card = sent["attachments"][0]["content"]
    runs = [run for row in card["body"] for run in row["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert not [run for run in runs if "{{" in run["text"]]
    assert runs[0]["text"].replace("\u200b", "") == text
    assert "msteams" not in card, "nothing says whom a mention means"


@table("kind", CHAT_BODIES)
@table(
    "link",
    [
        None,
        "",
        "javascript:alert(1)",
        "https://a.example/|x>",
        "https://a.example/> <!channel>",
        "https://a.example/\n",
        "https://a.example/" + "a" * 2000,
        "ftp://a.example/",
        "https://a.example/ü",
    ],
)
def test_a_link_that_is_none_is_left_out(kind: str, link: str | None) -> None:
    without = CHAT_BODIES[kind](Notice("t", (), Severity.INFO))
    assert CHAT_BODIES[kind](Notice("t", (), Severity.INFO, link)) == without


WIDE = [
    "x" * 5000,
    "ü" * 5000,
    "🚀" * 5000,
    "<" * 5000,
    "&" * 5000,
    "*" * 5000,
    "{" * 5000,
    '"\\' * 2500,
    "",
    " ",
    "\n",
]


def assert_within_limits(notice: Notice) -> None:
    slack = body("slack", notice)
    assert 1 <= units(slack["blocks"][0]["text"]["text"]) <= 150
    assert len(slack["blocks"]) <= 50
    for block in slack["blocks"]:
        assert 1 <= len(block.get("fields", [1])) <= 10
        assert all(1 <= units(field["text"]) <= 2000 for field in block.get("fields", []))
    [embed] = body("discord", notice)["embeds"]
    assert 1 <= units(embed["title"]) <= 256
    assert len(embed["fields"]) <= 25
    assert all(1 <= units(field["name"]) <= 256 for field in embed["fields"])
    assert all(1 <= units(field["value"]) <= 1024 for field in embed["fields"])
    shown = [embed["title"], *(text for field in embed["fields"] for text in field.values())]
    assert sum(map(units, shown)) <= 6000
    assert len(CHAT_BODIES["teams"](notice)) <= 28 * 1024


@table("count", [0, 1, MAX_LINES - 1, MAX_LINES, MAX_LINES + 1, 200])
@table("text", WIDE, ids=lambda text: repr(text[:3]))
def test_the_largest_notice_is_within_every_services_limits(text: str, count: int) -> None:
    assert_within_limits(Notice(text, ((text, text),) * count, Severity.CRITICAL, NOTICE.link))


@given(
    st.text(max_size=400),
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=1500)), max_size=40),
    st.sampled_from(list(Severity)),
)
def test_every_notice_is_within_every_services_limits(title: str, rows, severity: Severity) -> None:
    assert_within_limits(Notice(title, tuple(rows), severity, NOTICE.link))


def test_what_does_not_fit_is_counted() -> None:
    notice = Notice("t", tuple((f"n{at}", "v") for at in range(40)), Severity.INFO)
    fields = body("discord", notice)["embeds"][0]["fields"]
    assert fields[23] == {"name": "n23", "value": "v"}
    assert fields[24] == {"name": "…", "value": "16 more"}


def test_an_escaped_character_is_kept_whole_or_left_out() -> None:
    title = body("slack", Notice("&" * 300, (), Severity.INFO))["text"]
    assert re.fullmatch(r"(&amp;)+…", title)
    title = body("discord", Notice("*" * 300, (), Severity.INFO))["embeds"][0]["title"]
    assert re.fullmatch(r"(\\\*)+…", title)


@pytest.mark.parametrize("kind", CHAT_BODIES)
async def test_a_notice_arrives_as_json(kind: str) -> None:
    async with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/services/T/B/x"
        sent, headers = CHAT_BODIES[kind](NOTICE), {"Content-Type": "application/json"}
        answer_of(await outside().poster.post(url, sent, headers, org_id=ORG))
        assert json.loads(receiver.connections[0].body) == body(kind)
