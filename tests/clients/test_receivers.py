"""What the server sends to others, as libraries of the receiving side read it: signatures, embeds, cards.

They come from npm; `tools.py` says how. The reference library of Python is in `tests/egress/notices/test_webhooks.py`.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.clients.tools import HERE, node_modules, program
from towerlog.ambient import SystemClock, SystemIds
from towerlog.egress.notices.chat import CHAT_BODIES, Notice, Severity
from towerlog.egress.notices.webhooks import make_secret, signed_headers

IDS = SystemIds(SystemClock())
LONG = ["x" * 5000, "🚀" * 5000, "<@everyone> **{{x}}** &", "*" * 5000, "", "\n"]


def received(*cases: dict[str, Any]) -> list[dict[str, Any]]:
    """What the library for each case makes of it: `read`, or why it was `refused`."""
    node_modules()
    done = subprocess.run(
        [program("node"), "receive.mjs"],
        cwd=HERE,
        input="".join(json.dumps(case) + "\n" for case in cases),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(cases)
    return said


@pytest.mark.slow
def test_signatures_are_accepted_and_changed_messages_are_not() -> None:
    old, new, body = make_secret(IDS), make_secret(IDS), '{"note": "größer: 1 €"}'
    headers = signed_headers([new, old], "msg_1", SystemClock().now_ms() // 1000, body.encode())
    good = [{"kind": "webhook", "secret": secret, "headers": headers, "body": body} for secret in (old, new)]
    wrong = [{**good[0], "body": body + " "}, {**good[0], "secret": make_secret(IDS)}]
    wrong.append({**good[0], "headers": {**headers, "webhook-id": "msg_2"}})
    said = received(*good, *wrong)
    assert said[:2] == [{"read": json.loads(body)}] * 2
    assert [list(one) for one in said[2:]] == [["refused"]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["discord", "teams"])
def test_notices_of_any_size_are_taken_whole(kind: str) -> None:
    notices = [
        Notice(text, ((text, text),) * count, severity, "https://tower.example.com/runs/1?a=b&c=d")
        for text in LONG
        for count in (0, 1, 25, 60)
        for severity in Severity
    ]
    bodies = [CHAT_BODIES[kind](notice).decode() for notice in notices]
    for body, said in zip(bodies, received(*({"kind": kind, "body": body} for body in bodies)), strict=True):
        sent = json.loads(body)
        expected = sent["embeds"] if kind == "discord" else [one["content"] for one in sent["attachments"]]
        assert said == {"read": expected}


@pytest.mark.slow
def test_the_libraries_do_refuse() -> None:
    embed = {"title": "x" * 257, "color": 1, "fields": []}
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "RichTextBlok"}]}
    said = received(
        {"kind": "discord", "body": json.dumps({"embeds": [embed]})},
        {"kind": "teams", "body": json.dumps({"attachments": [{"content": card}]})},
    )
    assert [list(one) for one in said] == [["refused"], ["refused"]]
