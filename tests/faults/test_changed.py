"""The faults that a process plants in itself as it starts: each of them still changes something that is there."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

import pytest

from tests.faults.disk import CHANGES

PLANTED = [
    node for node in ast.parse((CHANGES / "sitecustomize.py").read_text()).body if isinstance(node, ast.FunctionDef)
]


def targets(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """What a fault sets: where its first name was imported from, and the path from there."""
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(function):
        for target in node.targets if isinstance(node, ast.Assign) else []:
            first, _, path = ast.unparse(target).partition(".")
            if path and first in imported:
                yield imported[first], path


def found(name: str) -> object:
    """A module, or what one has."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        return getattr(importlib.import_module(module), last)


@pytest.mark.parametrize("function", PLANTED, ids=lambda function: function.name)
def test_what_it_sets_is_there(function: ast.FunctionDef) -> None:
    """A name that has moved away would be set anew, and the process would run as it is."""
    for name, path in targets(function):
        value = found(name)
        for part in path.split("."):
            assert hasattr(value, part), f"{name} has no {path}"
            value = getattr(value, part)


def test_most_of_them_set_something() -> None:
    """The others do what they do by what they are given."""
    assert sum(1 for function in PLANTED if any(targets(function))) > len(PLANTED) // 2
