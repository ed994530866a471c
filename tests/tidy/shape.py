"""The shape of the source: how long things are, what explains itself, and names."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from tests.tidy.source import PACKAGE, AnyFunction, Source

FUNCTION_LINES = 60
FUNCTION_LINES_P90 = 30
MODULE_LINES = 400

VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})

MISNAMED_BOUND = re.compile(r"_?(MOST|LONGEST|LARGEST|FARTHEST|HIGHEST|USUAL)_[A-Z]|_?[A-Z_]+_MAX$")

DANGLING = re.compile(r"(The same|Of|Those|That of|It|Both|None|One|Two|Four|Six|True|\d[\d,]*)\b")
DANGLING_WORDS = 4
WORD = re.compile(r"[\w']+")
STANDING_FOR = frozenset({"it", "that", "this", "them", "they", "those", "these", "all", "some", "yet", "nobody"})
"""Words of a short text that name nothing themselves."""

EXPLAINED = ("model/", "engine/", "store/base/", "store/values.py", "errors.py", "ambient.py")
"""Where every public name has a docstring: what other layers build on."""


def function_lines(function: AnyFunction) -> int:
    """Lines from `def` to the last statement, docstring included, decorators left out."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_functions(source: Source) -> Iterator[str]:
    """Functions over the hard limit."""
    for function in source.functions():
        if (lines := function_lines(function)) > FUNCTION_LINES:
            yield source.at(
                function,
                f"`{function.name}` has {lines} lines, the law is {FUNCTION_LINES}; "
                "name its steps and let each be a function",
            )


def long_module(source: Source) -> Iterator[str]:
    """A module that holds more than one idea."""
    if (lines := source.text.count("\n")) > MODULE_LINES:
        yield f"{source.path}: {lines} lines, the law is {MODULE_LINES}; give its second idea a module of its own"


def missing_module_docstring(source: Source) -> Iterator[str]:
    """A module that does not say what it owns; an empty `__init__.py` owns nothing."""
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield f"{source.path}:1: begin with a docstring that says what this module owns"


def missing_public_docstrings(source: Source) -> Iterator[str]:
    """Public classes, functions and methods that do not explain themselves, in the layers that others build on."""
    if source.path.startswith(PACKAGE) and source.inside.startswith(EXPLAINED):
        yield from _unexplained(source, source.tree)


def _unexplained(source: Source, scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, AnyFunction | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not _is_overload(node):
            yield source.at(node, f"`{node.name}` is public: say its shapes, units and errors in a docstring")
        if isinstance(node, ast.ClassDef):
            yield from _unexplained(source, node)


def _is_overload(node: AnyFunction | ast.ClassDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id in {"overload", "override"} for mark in node.decorator_list)


def stray_docstring(source: Source) -> Iterator[str]:
    """A text that stands alone and describes nothing: neither what it is in, nor a name that is given before it."""
    for node in source.nodes:
        documented = isinstance(node, AnyFunction | ast.ClassDef | ast.Module)
        for field in ("body", "orelse", "finalbody"):
            before: ast.stmt | None = None
            found = getattr(node, field, None)
            for statement in found if isinstance(found, list) else ():
                is_own = documented and field == "body" and before is None
                if _is_text(statement) and not is_own and not isinstance(before, ast.Assign | ast.AnnAssign):
                    yield source.at(statement, "this text describes nothing: put it below its name, or take it out")
                before = statement


def _is_text(node: ast.AST) -> bool:
    return _text_of(node) is not None


def _text_of(node: ast.AST) -> str | None:
    """The text of a statement that is nothing but a text."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
        case _:
            return None


def dangling_docstring(source: Source) -> Iterator[str]:
    """A text in the package that cannot be read without its neighbours: it begins with what stands for a noun that is
    elsewhere, or is one such word and little more."""
    if not source.path.startswith(PACKAGE):
        return
    for node in source.nodes:
        if (found := _text_of(node)) is not None:
            text = " ".join(found.split())
            words = WORD.findall(text.lower())
            if DANGLING.match(text) or (len(words) < DANGLING_WORDS and STANDING_FOR & set(words)):
                yield source.at(
                    node, f"`{text[:40]}` says nothing by itself: begin with a noun or a verb that names it"
                )


def vague_name(source: Source) -> Iterator[str]:
    """A file or folder whose name says nothing."""
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if VAGUE_NAMES & set(part.split("_")):
            yield f"{source.path}: `{part}` says nothing; name it for the one thing it does, or put it where it is used"


def misnamed_bound(source: Source) -> Iterator[str]:
    """A constant of a module that names its bound or its default in another way than the others."""
    for node in source.tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and MISNAMED_BOUND.match(target.id):
            yield source.at(node, f"`{target.id}` is a bound: begin it with MAX_, MIN_ or DEFAULT_")


def ninetieth_percentile(lengths: Collection[int]) -> int:
    """The length that nine of ten functions do not exceed; 0 without functions."""
    ordered = sorted(lengths)
    return ordered[int(len(ordered) * 0.9)] if ordered else 0
