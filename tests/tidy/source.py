"""One Python file as the tidy checks see it: where it stands, its text, its syntax tree."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "src/towerlog/"

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A Python file; `path` is relative to the repository's root and written with `/`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; a file that does not parse fails every check with Python's own words."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree, walked once however many checks look at it."""
        return tuple(ast.walk(self.tree))

    @property
    def inside(self) -> str:
        """The path inside the package (`engine/leases.py`), or the whole path for a file outside of it."""
        return self.path.removeprefix(PACKAGE)

    @property
    def module(self) -> str:
        """The name inside the package, with dots: `engine.leases`."""
        return self.inside.removesuffix(".py").replace("/", ".")

    def at(self, node: ast.AST, message: str) -> str:
        """A finding that an editor can jump to."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"

    def functions(self) -> Iterator[AnyFunction]:
        """Every function and method, however deeply nested."""
        return (node for node in self.nodes if isinstance(node, AnyFunction))


@cache
def repository_files() -> tuple[str, ...]:
    """Paths of every file that git has or would take, sorted; asked for once in a process."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    paths = {raw.decode() for raw in listed.split(b"\0") if raw}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


@cache
def read_source(path: str) -> Source:
    """One Python file; read and parsed once in a process, however many checks look at it."""
    return Source(path, (ROOT / path).read_text("utf-8"))


def read_sources(folder: str) -> Iterator[Source]:
    """The Python files below `folder`, one at a time."""
    return (read_source(path) for path in repository_files() if path.startswith(folder) and path.endswith(".py"))


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a chain of names, with `()` where a call stands in it; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{dotted(value)}.{attr}"
        case ast.Call(func=func):
            return f"{dotted(func)}()"
        case _:
            return ""
