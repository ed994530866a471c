"""The SDK's modules import each other without a circle, and one name means one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SDK = Path(__file__).parents[2] / "src" / "towerlog" / "sdk"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SDK.rglob("*.py")):
        name = ".".join(("towerlog.sdk", *path.relative_to(SDK).with_suffix("").parts)).removesuffix(".__init__")
        yield name, ast.parse(path.read_text("utf-8"))


def imports_of(tree: ast.Module, known: set[str]) -> set[str]:
    """The SDK's own modules that a module imports, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def assert_acyclic(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these modules import each other: {' → '.join(error.args[1])}")


def test_no_modules_import_each_other() -> None:
    trees = dict(modules())
    known = set(trees)
    assert_acyclic({name: imports_of(tree, known) - {name} for name, tree in trees.items()})


def test_a_circle_would_be_found() -> None:
    first = ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from towerlog.sdk import b\n")
    second = ast.parse("def f():\n    from towerlog.sdk.a import x\n")
    known = {"towerlog.sdk.a", "towerlog.sdk.b"}
    graph = {"towerlog.sdk.a": imports_of(first, known), "towerlog.sdk.b": imports_of(second, known)}
    with pytest.raises(pytest.fail.Exception, match=r"towerlog\.sdk\.a"):
        assert_acyclic(graph)


def test_a_name_means_one_class() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for name, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
