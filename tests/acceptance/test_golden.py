"""Every golden conversation of every dialect, held against a real server: the requests sent, the replies compared.

A golden file is `tests/dialects/golden/<dialect>/NN_name.json`:

    {"title": …, "setup"?: [step, …], "steps": [step, …]}
    step = {"request": {"method", "path", "headers"?, "query"?, "json" | "text"?, "key"?: scope},
            "reply": {"status", "json"? | "subset"?}, "save"?: {name: "$.path[0].to.value"}}

Each file has an organisation of its own, so its ids can be those of the published examples. Strings of a request and
of an expected reply may use `{name}` of a saved value, those of a request also `{uuid}` for a fresh one. In a reply
`"<any>"`, `"<uuid>"`, `"<int>"`, `"<time>"`, `"<string>"` and `"<number>"` stand for any such value. `json` is the
whole body, key for key; `subset` names only some keys of each object (arrays are compared item by item, to their end).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.server import Server

GOLDEN = Path(__file__).parent.parent / "dialects" / "golden"
FILES = sorted(GOLDEN.glob("*/*.json"))

FILE_KEYS = {"title", "setup", "steps"}
STEP_KEYS = {"request", "reply", "save"}
REQUEST_KEYS = {"method", "path", "headers", "query", "json", "text", "key"}
REPLY_KEYS = {"status", "json", "subset"}

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def is_uuid(value: Any) -> bool:
    """A UUID in its one canonical spelling."""
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


MATCHERS: dict[str, Callable[[Any], bool]] = {
    "<any>": lambda value: True,
    "<uuid>": is_uuid,
    "<int>": lambda value: type(value) is int,
    "<time>": lambda value: isinstance(value, str) and TIME.fullmatch(value) is not None,
    "<string>": lambda value: isinstance(value, str),
    "<number>": lambda value: type(value) in (int, float),
}


def test_there_are_golden_files_of_every_dialect() -> None:
    assert {file.parent.name for file in FILES} >= {"checkpoints", "steps", "activity"}


@pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}-{file.stem}" for file in FILES])
def test_golden(server: Server, unique: Unique, file: Path) -> None:
    conversation = json.loads(file.read_text(encoding="utf-8"))
    assert FILE_KEYS >= set(conversation) >= {"title", "steps"}
    _, admin_key = server.make_org(unique(f"golden-{file.parent.name}"))
    admin = server.client(admin_key)

    @functools.cache
    def client(scope: str) -> httpx2.Client:
        return admin if scope == "admin" else server.client(key_of_scope(admin, scope))

    saved: dict[str, str] = {}
    steps = [*conversation.get("setup", []), *conversation["steps"]]
    assert steps
    for number, step in enumerate(steps, start=1):
        play(client, step, saved, f"step {number} of {file.name} ({conversation['title']})")


def key_of_scope(admin: httpx2.Client, scope: str) -> str:
    """A new key with this scope alone, made over HTTP: a hundred commands would take a minute."""
    made = admin.post("/api/v1/keys", json={"name": scope, "scopes": [scope]})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def play(client: Callable[[str], httpx2.Client], step: dict[str, Any], saved: dict[str, str], where: str) -> None:
    """Send one step's request, compare its reply, save what later steps use."""
    assert STEP_KEYS >= set(step) >= {"request", "reply"}, where
    assert REQUEST_KEYS >= set(step["request"]) >= {"method", "path"}, where
    assert REPLY_KEYS >= set(step["reply"]) >= {"status"}, where
    request = filled(step["request"], saved, fresh=True)
    reply = send(client(request.get("key", "admin")), request)
    assert reply.status_code == step["reply"]["status"], f"{where}: {reply.status_code} {reply.text}"
    for kind in ("json", "subset"):
        if kind in step["reply"]:
            wanted = filled(step["reply"][kind], saved, fresh=False)
            assert difference(wanted, reply.json(), whole=kind == "json") is None, (
                f"{where}: {difference(wanted, reply.json(), whole=kind == 'json')} in {reply.text}"
            )
    for name, path in step.get("save", {}).items():
        saved[name] = str(value_at(reply.json(), path))


def send(client: httpx2.Client, request: dict[str, Any]) -> httpx2.Response:
    """Send it with the body as it stands in the file."""
    headers = dict(request.get("headers", {}))
    content = None
    if "json" in request:
        headers.setdefault("Content-Type", "application/json")
        content = json.dumps(request["json"], ensure_ascii=False).encode()
    elif "text" in request:
        content = request["text"].encode()
    return client.request(
        request["method"], request["path"], params=request.get("query"), content=content, headers=headers
    )


def filled(value: Any, saved: dict[str, str], *, fresh: bool) -> Any:
    """The same value with `{name}` replaced in every string; `{uuid}` is a new one each time."""

    def replacement(found: re.Match[str]) -> str:
        if found[1] == "uuid" and fresh:
            return str(uuid4())
        return saved[found[1]]

    if isinstance(value, str):
        return PLACEHOLDER.sub(replacement, value)
    if isinstance(value, list):
        return [filled(item, saved, fresh=fresh) for item in value]
    if isinstance(value, dict):
        return {name: filled(item, saved, fresh=fresh) for name, item in value.items()}
    return value


def difference(wanted: Any, got: Any, *, whole: bool, at: str = "$") -> str | None:
    """Where and how a reply differs from what is wanted; None when it does not."""
    if isinstance(wanted, str) and wanted in MATCHERS:
        return None if MATCHERS[wanted](got) else f"{at}: wanted {wanted}, got {got!r}"
    if isinstance(wanted, dict) and isinstance(got, dict):
        return difference_of_objects(wanted, got, whole=whole, at=at)
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{at}: wanted {len(wanted)} items, got {len(got)}"
        found = (
            difference(w, g, whole=whole, at=f"{at}[{n}]") for n, (w, g) in enumerate(zip(wanted, got, strict=True))
        )
        return next((one for one in found if one is not None), None)
    same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
    return None if same else f"{at}: wanted {wanted!r}, got {got!r}"


def difference_of_objects(wanted: dict[str, Any], got: dict[str, Any], *, whole: bool, at: str) -> str | None:
    """The same for two objects."""
    if missing := wanted.keys() - got.keys():
        return f"{at}: no {sorted(missing)}"
    if whole and (more := got.keys() - wanted.keys()):
        return f"{at}: unexpected {sorted(more)}"
    found = (difference(wanted[name], got[name], whole=whole, at=f"{at}.{name}") for name in wanted)
    return next((one for one in found if one is not None), None)


def value_at(body: Any, path: str) -> Any:
    """What lies at `$.path[0].to.value`."""
    assert path.startswith("$"), path
    assert "".join(match[0] for match in PATH_PART.finditer(path)) == path[1:], f"not a path: {path}"
    for match in PATH_PART.finditer(path):
        body = body[match[1]] if match[1] is not None else body[int(match[2])]
    return body


@pytest.mark.parametrize(
    ("wanted", "got", "whole"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"ok": True}, {"ok": 1}, True),
        ({"id": "<uuid>"}, {"id": "abc"}, True),
        ({"id": "<int>"}, {"id": 1.0}, True),
        ({"at": "<time>"}, {"at": "2026-01-01T00:00:00Z"}, True),
        ({"n": "<number>"}, {"n": None}, True),
        ({"s": "<string>"}, {"s": 1}, True),
        ([{"a": {"b": 1}}], [{"a": {"b": 2}}], False),
    ],
    ids=lambda value: json.dumps(value),
)
def test_the_comparison_sees_differences(wanted: Any, got: Any, whole: bool) -> None:
    assert difference(wanted, got, whole=whole) is not None


def test_the_comparison_sees_likeness() -> None:
    got = {"id": str(uuid4()), "at": "2026-01-01T00:00:00.000Z", "n": 0.5, "i": 1, "s": "", "x": None, "l": [{"a": 1}]}
    wanted = {
        "id": "<uuid>",
        "at": "<time>",
        "n": "<number>",
        "i": "<int>",
        "s": "<string>",
        "x": "<any>",
        "l": [{"a": 1}],
    }
    assert difference(wanted, got, whole=True) is None
    assert difference({"l": [{}]}, got, whole=False) is None
    assert value_at(got, "$.l[0].a") == 1
