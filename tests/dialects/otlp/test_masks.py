"""Secrets are masked, whatever they stand in; what only looks a little like one stays."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table
from towerlog.dialects.otlp import masks
from towerlog.dialects.otlp.drafts import clean
from towerlog.dialects.otlp.forms import MASK
from towerlog.dialects.otlp.masks import (
    MAX_SUSPECTED,
    PLACES_AT_ONCE,
    Suspicions,
    masked_text,
    names_secret,
    suspects_in,
)
from towerlog.errors import Invalid

TOKEN = "abcdEFGH" * 5


@pytest.mark.parametrize(
    "name",
    [
        "http.request.header.authorization", "OPENAI_API_KEY", "langsmith.metadata.LANGSMITH_API_KEY", "x-api-key",
        "api_key", "db.password", "set-cookie", "client_secret", "token", "auth_token", "aws_secret_access_key",
        "process.environment_variable.HOME", "credentials", "http.request.header.cookie", "githubToken", "apiToken",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)
    assert clean({name: "hush"}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.request.max_tokens", "session.id", "author",
        "gen_ai.token.type", "llm.invocation_parameters", "secretary", "key", "monkey", "tool.name",
    ],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not names_secret(name)


PIECES = [word for word, _ in masks.SUSPECTS] + [
    *(word[:-1] for word, _ in masks.SUSPECTS), *(word[1:] for word, _ in masks.SUSPECTS),
    b'"key":', b'"key"', b'key":', b"a", b" ", b'"', b"\\u0041", b"KEY", b"Secret", b"ghx_", b"Akia",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.booleans())
def test_words_are_found_by_their_signs_as_by_themselves(pieces: list[bytes], is_long: bool) -> None:
    body = b"".join(pieces)
    more = b"." * masks.SIGNS_UP_TO_BYTES if is_long else b""
    found = [word for word, _ in suspects_in(body + more)]
    assert found == [word for word, _ in masks.SUSPECTS if _has(body, word)]
    assert masks.has_few_suspects(body + more)


def _has(body: bytes, word: bytes) -> bool:
    if rb"\u" in body:
        return True  # a letter may be an escape
    small = body if word == rb"\/" else body.lower().replace(rb"\/", b"/")
    return small.count(word) > (small.count(b'"key":') if word == b"key" else 0)


@pytest.mark.parametrize(
    "secret",
    [
        f"Bearer {TOKEN}", "Basic dXNlcjpwYXNzd29yZA==", f"sk-proj-{TOKEN}", "AKIAIOSFODNN7EXAMPLE", f"ghp_{TOKEN}",
        f"github_pat_{TOKEN}", f"glpat-{TOKEN}", f"hf_{TOKEN}", "xoxb-1234567890-abcdef", f"AIza{TOKEN}",
        f"eyJ{TOKEN}.eyJ{TOKEN}.{TOKEN}", "postgres://bob:hunter22@db/x",
        "-----BEGIN RSA PRIVATE KEY-----\nabcdef\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_forms_of_secrets(secret: str) -> None:
    for value in (secret, f"it is {secret}, hush", {"deep": [secret]}, json.dumps({"text": f"x {secret}"})):
        text = masked_text(json.dumps({"a": value, "after": "stays"}).encode())
        assert json.loads(text)["after"] == "stays"
        assert MASK.encode() in text
        for part in (TOKEN[:20], "dXNlcjpwYXNz", "AKIAIOSFODNN7", "1234567890-abcdef", "hunter22", "abcdef\\n"):
            assert part.encode() not in text


@pytest.mark.parametrize(
    "text",
    [
        "GET /a?access_token=hunter22&page=2", "https://h/a?b=c&api_key=hunter22", "export OPENAI_API_KEY=hunter22",
        "Server=db;User Id=bob;Password=hunter22;", "Driver=x;Pwd=hunter22;Port=5", "password=hunter22",
        "a PWD=hunter22 b",
        "mysql --password hunter22 --host db", "tool --api-key=hunter22", "X-Api-Key: hunter22",
        "user: bob\npassword: hunter22",
        "user: bob\n  db_password: hunter22\nport: 5", "Cookie: a=hunter22; b=hunter22",
        "GET /\nSet-Cookie: sid=hunter22; Path=/",
        "curl -H 'X-Api-Key: hunter22' https://h", "password = hunter22",
        "[db]\nclient_secret = hunter22  # of the test",
        "Authorization: hunter22", "{'env': 'A_TOKEN=hunter22'}",
    ],
)  # fmt: skip
def test_values_without_quotes(text: str) -> None:
    for value in (text, json.dumps({"deep": text}), [text, "stays"]):
        told = json.dumps({"a": value, "after": "stays"}).encode()
        left = masked_text(told)
        assert json.loads(left)["after"] == "stays"
        assert b"hunter22" not in left
        assert MASK.encode() in left
        assert masked_text(left) == left, "what is masked is not masked again"
    assert clean({"db.pwd": "hush"}) == {"db.pwd": MASK}


@table("quote", ['"', "'"])
@table("name", ["api_key", "Authorization", "password", "X-Api-Key", "secrets", "token"])
def test_members_of_text_that_is_json(quote: str, name: str) -> None:
    inner = f"{{{quote}{name}{quote}: {quote}hush, hush{quote}, {quote}city{quote}: {quote}Oslo{quote}}}"
    text = json.loads(masked_text(json.dumps({"input": inner}).encode()))["input"]
    assert text == inner.replace("hush, hush", MASK)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 5",
        "the key is under the mat",
        "https://example.org/a?b=c",
        "a basic thing",
        "sk-short",
        "risk-free-" * 5,
        "the password: it is under the mat",
        "his secret: nobody knows",
        "password: a word, and then another",
        "monkey=banana",
        "key=value",
        "if token == other",
        "the token is here",
        "--token-count 500",
        "keys: a, b",
    ],
)
def test_other_text_stays(text: str) -> None:
    told = json.dumps({"key": text, "token_count": 7, "keys": ["a"], "tokens": "many"}).encode()
    assert masked_text(told) == told


JSON_VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([f"Bearer {TOKEN}", "://a:b@"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["password", "a", "key"]), inner),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans())
def test_what_is_masked_is_json_of_the_same_form(value: Any, is_ascii: bool) -> None:
    told = json.loads(masked_text(json.dumps({"value": value}, ensure_ascii=is_ascii).encode()))
    assert shape(told) == shape({"value": value})


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value)


LEAK = "hunter2secret"
NESTED = json.dumps({"a": json.dumps({"b": json.dumps({"password": f'x"\\\n{LEAK}'})})})


@pytest.mark.parametrize(
    "text",
    [
        f"postgres:\\/\\/u:{LEAK}@h/db", json.dumps({"x": f"postgres:\\/\\/u:{LEAK}@h"}), f"x://{'u' * 300}:{LEAK}@h",
        f"x://u:{'a' * 600}{LEAK}@h", f"x://u:a@{LEAK}@h", f"Authorization: Bearer\t{LEAK}", f"Bearer\n  {LEAK}",
        json.dumps({"password": f'ab"{LEAK}'}), json.dumps({"password": f"ab\\{LEAK}"}),
        json.dumps({"password": f"ab\n{LEAK}"}), json.dumps({"password": "a" * 17_000 + LEAK}), NESTED,
        json.dumps({"password": ["[", LEAK]}), json.dumps({"secret": {"a": [LEAK]}, "b": 1}),
        f'{{"\\u0070assword": "{LEAK}"}}', json.dumps({"t": f'{{"pass\\u0077ord": ["{LEAK}"]}}'}),
        json.dumps({"githubToken": LEAK}), json.dumps({"github_token": LEAK}), f"{{'password': 'it\\'s {LEAK}'}}",
        json.dumps({"api_key": "12345", "t": {"password": 1234567}}).replace("1234567", "7" * 9),
        f"line\nsk-{LEAK}{TOKEN}", f"sk-{TOKEN * 20}{LEAK}", f"-----BEGIN PRIVATE KEY-----\n{'ab' * 20_000}{LEAK}",
        f'{{"password" : \n "{LEAK}"}}',
    ],
)  # fmt: skip
def test_secrets_however_they_are_written(text: str) -> None:
    body = json.dumps({"a": text, "after": "stays"}).encode()
    told = masked_text(body, suspects_in(body))
    assert LEAK.encode() not in told
    assert b"777777777" not in told
    assert MASK.encode() in told
    assert json.loads(told)["after"] == "stays"


@pytest.mark.parametrize("levels", range(4))
def test_what_stands_behind_a_masked_member_stays(levels: int) -> None:
    value: Any = {"first": 1, "password": ['x"]', {"a": "\\"}], "token": 'a"\\', "last": ["y", 'z"']}
    inner: Any = value
    for _ in range(levels + 1):
        inner = json.dumps(inner)
    text: Any = masked_text(inner.encode())
    for _ in range(levels + 1):
        text = json.loads(text)
    # What is no text is masked as a value, by its own members.
    assert text == value | {"token": MASK} | ({"password": MASK} if levels else {})


@pytest.mark.parametrize(
    "part",
    [
        b"-----BEGIN PRIVATE KEY-----", b"-eyJ", b"-eyJaaaaaaaa.", b"key'='", b'key\\":\\"', b'password\\":[', b"://a:",
        b"bearer ", b"key\\\\", b'\\"\\\\u0061', b"sk-aaaaaaaaaaaaa", b"\\/", b"basic\\\\", b"glpat-eyJ",
    ],
    ids=lambda part: part.decode()[:12],
)  # fmt: skip
@pytest.mark.parametrize("ending", [b"", b"'", b"@"])
def test_time_grows_with_the_text_and_no_faster(part: bytes, ending: bytes) -> None:
    def least_s(size: int) -> float:
        text = b'{"a":"' + part * (size // len(part)) + ending + b'"}'
        found = []
        for _ in range(3):
            began = time.process_time()
            masked_text(text)
            found.append(time.process_time() - began)
        return min(found)

    assert least_s(64_000) < 50 * max(least_s(4_000), 0.0003)


def test_others_may_go_on_between_the_places_of_a_long_text() -> None:
    pauses: list[int] = []
    of_request = Suspicions(lambda: pauses.append(of_request.left))
    masked_text(b'{"a": "' + b"key'='" * 2000 + b'"}', suspicions=of_request)
    left = [MAX_SUSPECTED, *pauses, of_request.left]
    assert len(left) > 5
    assert max(before - after for before, after in pairwise(left)) < 3 * PLACES_AT_ONCE


def test_text_that_may_be_secrets_all_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SUSPECTED > 100_000
    monkeypatch.setattr(masks, "MAX_SUSPECTED", 100)
    assert masked_text(b'{"a": "' + b"key " * 100 + b'"}')
    with pytest.raises(Invalid):
        masked_text(b'{"a": "' + b"key " * 101 + b'"}')
    of_request = Suspicions()
    masked_text(b'{"a": "' + b"key " * 60 + b'"}', suspicions=of_request)
    with pytest.raises(Invalid):
        masked_text(b'{"a": "' + b"key " * 60 + b'"}', suspicions=of_request)
