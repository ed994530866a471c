"""The blocking half of the SDK is what its asyncio half says, by tools/blocking_from_async.py."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "blocking_from_async.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blocking_from_async", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_generated_file_is_out_of_date() -> None:
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run `make blocking`\n{done.stdout}{done.stderr}"


def test_a_change_of_either_half_is_noticed(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source, target in tool.FILES.items():
        for path in (source, target):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes((tool.SDK / path).read_bytes())
    monkeypatch.setattr(tool, "SDK", tmp_path)
    assert tool.outdated() == {}
    by_hand = tmp_path / "api/client.py"
    by_hand.write_text(by_hand.read_text().replace("newest first", "oldest first"))
    assert set(tool.outdated()) == {by_hand}
    source = tmp_path / "wire/async_http.py"
    source.write_text(source.read_text() + "\n\nasync def more() -> None:\n    await more()\n")
    assert set(tool.outdated()) == {by_hand, tmp_path / "wire/http.py"}


def test_async_and_await_go_and_names_are_replaced(tool: ModuleType) -> None:
    text = (
        "async def f(one: AsyncHttp) -> None:\n"
        "    async with await one.stream() as s, other:\n"
        "        async for x in s:  # await, in a comment, stays\n"
        "            g(await x, f'AsyncHttp({x!r})', 'await')\n"
    )
    assert tool.translated(text)[0] == (
        "def f(one: Http) -> None:\n"
        "    with one.stream() as s, other:\n"
        "        for x in s:  # await, in a comment, stays\n"
        "            g(x, f'Http({x!r})', 'await')\n"
    )


def test_a_line_of_the_tables_that_nothing_needs_is_an_error(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "NAMES", {**tool.NAMES, "AsyncNothing": "Nothing"})
    with pytest.raises(tool.Stale, match="AsyncNothing"):
        tool.outdated()
