"""The law that linters know, held by `make test` alone; and planted faults that show that each of them bites."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
LIMIT_S = 540
"""It only ends a hang, sooner than the run does; the types of a fresh clone take half a minute of a processor."""


def run(*command: str, cwd: Path = ROOT, given: str | None = None, **environment: str) -> tuple[int, str]:
    """Run one of the tools that stand beside this Python; its exit code and all that it said, without colours."""
    finished = subprocess.run(
        [str(TOOLS / command[0]), *command[1:]],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        input=given or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return finished.returncode, finished.stdout


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("lint-imports", "--no-logo")],
    ids=lambda command: "-".join(word for word in command if word[0].isalpha()),
)
def test_the_tree_is_lawful(command: tuple[str, ...]) -> None:
    code, said = run(*command)
    if code:
        pytest.fail(f"`{' '.join(command)}` exits with {code}:\n{said}", pytrace=False)


RUFF_FAULTS = {
    "print in the engine": ("src/towerlog/engine/x.py", "print('hello')\n", "T201"),
    "commented-out code": ("src/towerlog/engine/x.py", "# x = compute(1)\n", "ERA001"),
    "a blocked event loop": (
        "src/towerlog/engine/x.py",
        "import time\n\n\nasync def f():\n    time.sleep(1)\n",
        "ASYNC251",
    ),
    "a relative import": ("src/towerlog/engine/x.py", "from . import follow\n", "TID252"),
    "a time without zone": (
        "src/towerlog/model/x.py",
        "import datetime\n\nx = datetime.datetime(2026, 1, 1)\n",
        "DTZ001",
    ),
    "a line of 121": ("src/towerlog/engine/x.py", f'x = "{"a" * 115}"\n', "E501"),
    "a shadowed builtin": ("tests/x.py", "def f(id):\n    return id\n", "A002"),
}


@pytest.mark.parametrize("fault", RUFF_FAULTS)
def test_ruff_refuses(fault: str) -> None:
    path, text, rule = RUFF_FAULTS[fault]
    code, said = run(
        "ruff", "check", "--no-cache", "--output-format=concise", "--stdin-filename", path, "-", given=text
    )
    assert code == 1
    assert rule in said


def test_the_cli_may_print() -> None:
    code, said = run(
        "ruff", "check", "--no-cache", "--stdin-filename", "src/towerlog/cli/x.py", "-", given="print(1)\n"
    )
    assert code == 0, said


FORGETFUL = """
from enum import Enum

class Status(Enum):
    OPEN = 1
    CLOSED = 2

def word(status: Status) -> str:
    match status:
        case Status.OPEN:
            return "open"
    return "?"

def untyped(x):
    return x
"""


@pytest.fixture(scope="module")
def told_of_types(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """What mypy says of the tree, and of a module with faults beside it: one run, since both need all types."""
    planted = tmp_path_factory.mktemp("types") / "forgetful.py"
    planted.write_text(FORGETFUL, "utf-8")
    code, said = run("mypy", "--strict", "--no-pretty", "--no-error-summary", "src", str(planted))
    assert code == 1, f"exit code {code}, and the planted faults ask for 1:\n{said}"
    lines = said.splitlines()
    ours = [line for line in lines if planted.name not in line.partition(":")[0]]
    return ours, [line for line in lines if line not in ours]


def test_the_types_of_the_tree_are_lawful(told_of_types: tuple[list[str], list[str]]) -> None:
    assert told_of_types[0] == []


def test_mypy_refuses_a_forgotten_case_and_a_missing_type(told_of_types: tuple[list[str], list[str]]) -> None:
    said = "\n".join(told_of_types[1])
    assert "[exhaustive-match]" in said
    assert "[no-untyped-def]" in said


# The import contracts, on a tree of empty modules that is made from the contracts themselves.

CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
    "contracts"
]

LAWFUL_IMPORTS = {
    "asgi/connection.py": "import uvicorn",
    "asgi/http1/fitness.py": "import uvicorn",
    "asgi/push/websocket.py": "import websockets",
    "asgi/pages/mcp/protocol.py": "import mcp\nimport mcp_types",
    "asgi/pages/sign_in/passwords.py": "import argon2",
    "asgi/pages/sign_in/provider.py": "import joserfc",
    "asgi/pages/sign_in/by_provider.py": "import joserfc",
    "asgi/pages/sign_in/tokens.py": "import joserfc",
    "store/sqlite.py": "import apsw",
    "store/postgres/connections.py": "import asyncpg",
    "server.py": "from towerlog import config\nfrom towerlog.egress import outside\nfrom towerlog.wake import local",
    "engine/pricing/price_list.py": "import genai_prices",
    "dialects/otlp/protobuf.py": "import google.protobuf\nimport opentelemetry.proto",
    "dialects/views/otlp_protobuf.py": "import google.protobuf\nimport opentelemetry.proto",
    "storage.py": "from towerlog import config\nfrom towerlog.store import sqlite",
    "egress/http.py": "from towerlog.egress import addresses",
    "egress/mail/mailer.py": "import aiosmtplib",
    "cli/serve.py": "from towerlog import config, server",
    "dialects/runs.py": "from towerlog.dialects import base\nfrom towerlog.model import run",
    "model/run.py": "import msgspec",
    "sdk/api/client.py": "import json\nfrom towerlog import errors",
    "wake/local.py": "import asyncio",
}

DOWN = "Imports point down"
PURE = "A dialect, a fold, a noun does no I/O"
DIALECTS = "Dialects do not know each other"
BACKENDS = "Backends do not know each other, and their contract knows none"
WAKES = "Wakes do not know each other, and their contract knows none"
SETTINGS = "Only the entry points read settings"
ASGI = "Only asgi speaks ASGI, and only the wiring serves it; the engine never does"
TOKENS = "Only the sign-in by a provider reads its tokens"
PASSWORDS = "Only one module hashes passwords"
FRAMES = "Only one module frames WebSockets"
MCP = "Only one module speaks MCP, by the SDK of an extra"
ROOMS = "A request passes the rooms of asgi from the outside in"
ENGINE_ROOMS = "The rooms of the engine stand on each other one way"
COMMANDS = "Commands read nothing back: a reply is built after the commit"
SQLITE_ROOMS = "The rooms of the SQLite store stand on each other one way"
POSTGRES_ROOMS = "The rooms of the PostgreSQL store stand on each other one way"
DATABASE = "Only the store opens a database, and a bus of one"
BACKEND = "Only one module names a backend"
WIRING = "Only the wiring names a wake"
PRICES = "Only one module reads the list of prices"
PROTOBUF = "Only one module reads protobuf, and one writes it"
OUTWARD = "Only egress goes out, and only the wiring opens it"
GUARD = "The guard of egress knows nothing of what is sent"
SDK = "The SDK needs nothing but the standard library and the errors"
SDK_ROOMS = "The rooms of the SDK stand on each other one way"

IMPORT_FAULTS = {
    "the engine imports asgi": ("engine/core.py", "from towerlog.asgi import app", DOWN),
    "the store imports a fold": ("store/base.py", "from towerlog.projections import runs", DOWN),
    "a module without a layer": ("helpers.py", "", DOWN),
    "a noun imports asyncio": ("model/run.py", "import asyncio", PURE),
    "a fold reads the clock": ("projections/runs.py", "from towerlog import ambient", PURE),
    "a dialect opens a socket": ("dialects/steps.py", "import socket", PURE),
    "a dialect imports its sibling": ("dialects/lanes.py", "from towerlog.dialects import runs", DIALECTS),
    "a dialect without a line": ("dialects/agui.py", "", DIALECTS),
    "a backend imports the other": ("store/postgres/store.py", "from towerlog.store import sqlite", BACKENDS),
    "the contract imports a backend": ("store/base/log.py", "from towerlog.store import sqlite", BACKENDS),
    "the engine reads settings": ("engine/core.py", "from towerlog import config", SETTINGS),
    "the engine speaks ASGI": ("engine/core.py", "from uvicorn.config import Config", ASGI),
    "asgi's app knows the server's private parts": ("asgi/app.py", "import uvicorn", ASGI),
    "a stream frames by itself": ("asgi/push/streams.py", "import websockets", FRAMES),
    "a page needs an extra": ("asgi/pages/mcp/page.py", "import mcp", MCP),
    "a tool needs an extra": ("asgi/pages/mcp/tools.py", "import mcp_types", MCP),
    "a guard hashes a password": ("asgi/guard/auth.py", "import argon2", PASSWORDS),
    "a guard reads a token": ("asgi/guard/auth.py", "import joserfc", TOKENS),
    "a guard knows the gate": ("asgi/guard.py", "from towerlog.asgi import gate", ROOMS),
    "the gate waits": ("asgi/gate.py", "from towerlog.asgi import service", ROOMS),
    "a plan knows what follows from it": ("engine/plan.py", "from towerlog.engine import reactions", ENGINE_ROOMS),
    "a reaction carries out a person's command": (
        "engine/reactions.py",
        "from towerlog.engine import commands",
        ENGINE_ROOMS,
    ),
    "a command builds a reply": ("engine/commands.py", "from towerlog.engine import queries", COMMANDS),
    "a room of the engine without a line": ("engine/spare.py", "", ENGINE_ROOMS),
    "a connection knows the upkeep": (
        "store/sqlite/connections.py",
        "from towerlog.store.sqlite import upkeep",
        SQLITE_ROOMS,
    ),
    "a room of SQLite without a line": ("store/sqlite/spare.py", "", SQLITE_ROOMS),
    "a reader of PostgreSQL knows a subject": (
        "store/postgres/reading.py",
        "from towerlog.store.postgres import subjects",
        POSTGRES_ROOMS,
    ),
    "a room of PostgreSQL without a line": ("store/postgres/spare.py", "", POSTGRES_ROOMS),
    "asgi opens a database": ("asgi/app.py", "import apsw", DATABASE),
    "the engine names a backend": ("engine/core.py", "from towerlog.store import sqlite", BACKEND),
    "the server names a backend": ("server.py", "from towerlog.store import postgres", BACKEND),
    "the engine chooses its wake": ("engine/core.py", "from towerlog.wake import local", WIRING),
    "a wake imports the other": ("wake/nats.py", "from towerlog.wake import local", WAKES),
    "a wake reads the store": ("wake/local.py", "from towerlog.store import base", DOWN),
    "asgi names a bus": ("asgi/app.py", "from towerlog.wake import nats", WIRING),
    "the engine reads the list of prices elsewhere": ("engine/core.py", "import genai_prices", PRICES),
    "a dialect reads protobuf elsewhere": ("dialects/otlp/json_in.py", "import google.protobuf", PROTOBUF),
    "the engine goes out by itself": ("engine/core.py", "import aiosmtplib", OUTWARD),
    "the engine opens the way out": ("engine/core.py", "from towerlog.egress import outside", OUTWARD),
    "a store goes out": ("store/base.py", "from towerlog.egress import http", DOWN),
    "what goes out reads the store": ("egress/http.py", "from towerlog.store import base", DOWN),
    "the guard knows a post": ("egress/addresses.py", "from towerlog.egress import http", GUARD),
    "a post knows mail": ("egress/http.py", "from towerlog.egress import mail", GUARD),
    "a room of egress without a line": ("egress/sms.py", "", GUARD),
    "the SDK needs a package": ("sdk/api/client.py", "import msgspec", SDK),
    "the SDK knows the server's nouns": ("sdk/api/client.py", "from towerlog.model import run", SDK),
    "a client imports a worker": ("sdk/api/client.py", "from towerlog.sdk import work", SDK_ROOMS),
    "recording imports asking": ("sdk/record.py", "from towerlog.sdk.api import client", SDK_ROOMS),
    "a room of the SDK without a line": ("sdk/spare.py", "", SDK_ROOMS),
}


def declared_modules() -> Iterator[str]:
    """Paths of all modules that the layer contracts name, those in brackets too."""
    for contract in CONTRACTS:
        for container in contract.get("containers", []):
            folder = container.removeprefix("towerlog").replace(".", "/").lstrip("/")
            for layer in contract["layers"]:
                for name in layer.replace(":", "|").split("|"):
                    yield f"{folder}/{name.strip(' ()')}".lstrip("/")


def build_stub(root: Path, faults: Iterable[tuple[str, str]] = ()) -> None:
    """Write the tree of the layers with lawful imports, and faults: (path in the package, a line that is one)."""
    modules = set(declared_modules())
    files = {"__init__.py": "", "wake/nats.py": "", **LAWFUL_IMPORTS}
    for module in modules:
        is_single = "/" in module or module in {"server", "storage"}
        is_single = is_single and not any(path.startswith(f"{module}/") for path in files)
        files.setdefault(f"{module}.py" if is_single else f"{module}/__init__.py", "")
    for path, line in faults:
        files[path] = f"{files.get(path, '')}\n{line}\n"
    for path in list(files):
        for folder in Path(path).parents:
            files.setdefault(str(folder / "__init__.py"), "")
    for path, text in files.items():
        target = root / "src" / "towerlog" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    (root / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")


def complaints(root: Path) -> dict[str, str]:
    """What is said of each contract that the tree breaks; fails when a contract could not be checked at all."""
    code, said = run("lint-imports", "--no-logo", "--no-cache", cwd=root, PYTHONPATH=str(root / "src"))
    verdicts = {
        name: verdict for name in names_of_contracts() for verdict in ("KEPT", "BROKEN") if f"{name} {verdict}" in said
    }
    assert len(verdicts) == len(CONTRACTS), said
    assert code == ("BROKEN" in verdicts.values()), said
    broken = [name for name in names_of_contracts() if verdicts[name] == "BROKEN"]
    heads = [said.index(f"\n{name}\n---") for name in broken]
    ends = [*heads, len(said)][1:]
    return {name: said[at:end] for name, at, end in zip(broken, heads, ends, strict=True)}


def complaint_of(path: str, line: str) -> str:
    """How import-linter names an import, or a module that should not be there."""
    module = f"towerlog.{path.removesuffix('.py').replace('/', '.')}"
    if not line:
        return f"- {module}\n"
    [statement] = ast.parse(line).body
    assert isinstance(statement, ast.Import | ast.ImportFrom)
    name = statement.names[0].name
    imported = f"{statement.module}.{name}" if isinstance(statement, ast.ImportFrom) else name
    # Of what is not ours only the package is named.
    return f" {module} -> {imported if imported.startswith('towerlog.') else imported.partition('.')[0]} (l."


def names_of_contracts() -> list[str]:
    """In the order of pyproject.toml."""
    return [contract["name"] for contract in CONTRACTS]


def test_a_lawful_tree_keeps_every_contract(tmp_path: Path) -> None:
    build_stub(tmp_path)
    assert complaints(tmp_path) == {}


def test_what_stands_in_brackets_may_be_missing(tmp_path: Path) -> None:
    build_stub(tmp_path)
    (tmp_path / "src/towerlog/wake/nats.py").unlink()
    (tmp_path / "src/towerlog/wake/postgres.py").unlink()
    assert complaints(tmp_path) == {}


@pytest.fixture(scope="module")
def told_of_faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of a tree with all the faults at once: each is named with its own contract."""
    root = tmp_path_factory.mktemp("faulty")
    build_stub(root, [(path, line) for path, line, _ in IMPORT_FAULTS.values()])
    return complaints(root)


@pytest.mark.parametrize("fault", IMPORT_FAULTS)
def test_import_linter_refuses(fault: str, told_of_faults: dict[str, str]) -> None:
    path, line, contract = IMPORT_FAULTS[fault]
    assert complaint_of(path, line) in told_of_faults[contract]


def test_every_contract_has_a_planted_fault() -> None:
    assert {contract for _, _, contract in IMPORT_FAULTS.values()} == set(names_of_contracts())
