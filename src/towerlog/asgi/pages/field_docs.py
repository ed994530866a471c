"""What the source says of the fields of a struct: the text below a field, as an editor would show it.

It stands beside the field that it describes and nowhere else; Python keeps no such text, so the source is read.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, get_origin

MAX_MODULES = 256


def field_docs(cls: Any) -> dict[str, str]:
    """Field → its description, those of base classes included. A field without one is not in it."""
    plain = get_origin(cls) or cls
    found: dict[str, str] = {}
    for one in reversed(plain.__mro__):
        module = sys.modules.get(one.__module__)
        if module is not None:
            found |= _documented(module).get(one.__qualname__, {})
    return found


@lru_cache(maxsize=MAX_MODULES)
def _documented(module: ModuleType) -> Mapping[str, dict[str, str]]:
    """Class → field → description, of the classes at the top of a module; empty where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return {}
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            found[field.target.id] = inspect.cleandoc(text.value.value)
    return found
