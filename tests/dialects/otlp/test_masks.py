"""Secrets are masked, whatever they stand in; what only looks a little like one stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.dialects.otlp import masks
from towerlog.dialects.otlp.drafts import clean
from towerlog.dialects.otlp.masks import MASK, MAX_SUSPECTED, masked_text, names_secret
from towerlog.errors import Invalid

TOKEN = "abcdEFGH" * 5


@pytest.mark.parametrize(
    "name",
    [
        "http.request.header.authorization", "OPENAI_API_KEY", "langsmith.metadata.LANGSMITH_API_KEY", "x-api-key",
        "api_key", "db.password", "set-cookie", "client_secret", "token", "auth_token", "aws_secret_access_key",
        "process.environment_variable.HOME", "credentials", "http.request.header.cookie",
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


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("name", ["api_key", "Authorization", "password", "X-Api-Key", "secrets", "token"])
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


def test_text_that_may_be_secrets_all_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SUSPECTED > 100_000
    monkeypatch.setattr(masks, "MAX_SUSPECTED", 100)
    assert masked_text(b'{"a": "' + b"key " * 100 + b'"}')
    with pytest.raises(Invalid):
        masked_text(b'{"a": "' + b"key " * 101 + b'"}')
