"""What is declared and named nowhere: constants of modules, functions, classes and methods that only tests know."""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

from tests.tidy.source import PACKAGE, AnyFunction, Source

QUIET_DECORATORS = frozenset({"property", "staticmethod", "classmethod", "override", "overload", "contextmanager"})
"""What is decorated by anything else may be named by whoever decorates it: a command, a hook."""


def named_nowhere(sources: Iterable[Source], by_others: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Declarations of the package that none of the sources names. `by_others`: path in the package → what is named by a
    library, a protocol or a test alone; a name there that needs no exception is a finding too.

    A name counts wherever it is read, imported, taken as an attribute or a keyword, or stands in a text by itself: two
    things of one name are told apart by nobody here, so what is found is dead for certain.
    """
    held = tuple(sources)
    named = {name for source in held for name in _names_in(source)}
    dead: dict[str, set[str]] = {}
    for source in held:
        if not source.path.startswith(PACKAGE):
            continue
        allowed = by_others.get(source.inside, ())
        for node, name in _declared(source.tree):
            if name not in named:
                dead.setdefault(source.inside, set()).add(name)
                if name not in allowed:
                    yield source.at(node, f"`{name}` is named nowhere but in tests: take it out, or use it")
    for path, names in by_others.items():
        for name in sorted(set(names) - dead.get(path, set())):
            yield f"{PACKAGE}{path}: `{name}` needs no exception any more; take it out of NAMED_BY_OTHERS"


def _names_in(source: Source) -> Iterator[str]:
    for node in source.nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name
            case ast.alias(name=name):
                yield name.rpartition(".")[2]
            case ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(name)) if name.isidentifier():
                yield name
            case _:
                pass


def _declared(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[ast.stmt, str]]:
    for node in scope.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if not _is_special(node.name) and not _is_taken_up(node):
                    yield node, node.name
            case ast.ClassDef():
                yield node, node.name
                yield from ((inner, name) for inner, name in _declared(node) if isinstance(inner, AnyFunction))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if not _is_special(name):
                    yield node, name
            case _:
                pass


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_taken_up(function: AnyFunction) -> bool:
    """Whether a decorator may have taken the function up: then whoever needs it does not name it."""
    names = (mark.func if isinstance(mark, ast.Call) else mark for mark in function.decorator_list)
    return any(not (isinstance(name, ast.Name) and name.id in QUIET_DECORATORS) for name in names)
