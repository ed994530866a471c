"""Signatures of webhooks, held against the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.egress.receivers import ORG, answer_of, outside, receiving
from towerlog.ambient import SystemClock, SystemIds
from towerlog.egress.notices.webhooks import MAX_SECRETS, BadSecret, key_of, make_secret, signed_headers

IDS = SystemIds(SystemClock())
ID = "msg_019a7e3c"
BODY = json.dumps({"alert": "spend", "note": "größer: 1 €"}, ensure_ascii=False).encode()


def now_s() -> int:
    return SystemClock().now_ms() // 1000


def test_the_reference_library_accepts_what_we_sign() -> None:
    secret = make_secret(IDS)
    headers = signed_headers([secret], ID, now_s(), BODY)
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert headers["webhook-id"] == ID


@given(st.text(max_size=200), st.integers(0, 4_000_000_000), st.binary(min_size=24, max_size=64))
def test_our_signature_is_the_references(body: str, sent_at_s: int, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = Webhook(secret).sign(ID, datetime.fromtimestamp(sent_at_s, UTC), body)
    assert signed_headers([secret], ID, sent_at_s, body.encode())["webhook-signature"] == expected


def test_while_a_secret_is_changed_both_are_good_and_a_third_is_not() -> None:
    old, new, other = (make_secret(IDS) for _ in range(3))
    headers = signed_headers([new, old], ID, now_s(), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers)


@pytest.mark.parametrize("changed", ["body", "id", "time", "old"])
def test_what_was_changed_on_the_way_is_not_accepted(changed: str) -> None:
    secret = make_secret(IDS)
    headers = signed_headers([secret], ID, now_s() - (400 if changed == "old" else 0), BODY)
    if changed == "id":
        headers["webhook-id"] = "msg_other"
    if changed == "time":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + (b" " if changed == "body" else b""), headers)


async def test_a_signed_post_arrives_as_it_was_signed() -> None:
    secret = make_secret(IDS)
    async with receiving() as receiver:
        headers = {"Content-Type": "application/json", **signed_headers([secret], ID, now_s(), BODY)}
        answer_of(await outside().poster.post(f"http://127.0.0.1:{receiver.port}/", BODY, headers, org_id=ORG))
        came = receiver.connections[0]
    assert Webhook(secret).verify(came.body, came.headers) == json.loads(BODY)


def test_secrets_are_new_each_time_and_good() -> None:
    made = {make_secret(IDS) for _ in range(100)}
    assert len(made) == 100
    assert {len(key_of(secret)) for secret in made} == {32}


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "begins with whsec_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G", "begins with whsec_"),
        ("whsec_", "24 to 64 bytes, this one 0"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64 bytes, this one 23"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes, this one 65"),
        ("whsec_" + "ü" * 44, "is base64"),
        ("whsec_" + "_" * 44, "is base64"),
        ("whsec_" + "A" * 43, "is base64"),
        ("whsec_" + "AAAA\n" * 11, "is base64"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_repeated(secret: str, words: str) -> None:
    with pytest.raises(BadSecret) as caught:
        key_of(secret)
    assert words in str(caught.value)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(caught.value)


@pytest.mark.parametrize("size", [24, 64])
def test_the_edges_of_a_secret_are_good(size: int) -> None:
    assert key_of("whsec_" + base64.b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "ü", "a\nb", "a" * 201])
def test_an_id_that_could_be_parted_in_another_way_is_not_signed(webhook_id: str) -> None:
    with pytest.raises(ValueError, match="id has letters"):
        signed_headers([make_secret(IDS)], webhook_id, 0, b"")


def test_the_number_of_secrets_is_bounded() -> None:
    for secrets in ([], [make_secret(IDS)] * (MAX_SECRETS + 1)):
        with pytest.raises(ValueError, match="signed with 1 to 8"):
            signed_headers(secrets, ID, 0, b"")
