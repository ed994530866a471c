"""Habits of the tests: none waits for a fixed time, limits what the machine decides, steps aside, or takes another
process for its own."""

import ast
from collections.abc import Collection, Iterable, Iterator

from tests.tidy.source import Source, dotted

_SLEEPS = frozenset({"time.sleep", "asyncio.sleep", "anyio.sleep"})
_ASIDE = frozenset({"pytest.skip", "pytest.xfail", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"})

_CLOCKS = ("time.monotonic", "time.perf_counter", "time.time", "loop.time", "loop().time")

_OF_THE_PROCESS = frozenset(
    {
        *("os.environ", "os.getenv", "os.getpid", "os.getppid", "os.urandom", "os.getcwd", "Path.cwd", "Path.home"),
        *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "datetime.now"),
        *("uuid.uuid4", "uuid4", "uuid7", "secrets.token_hex", "secrets.token_bytes", "secrets.token_urlsafe"),
        *("tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.gettempdir", "tempfile.TemporaryDirectory"),
        *("socket.socket", "socket.create_server", "threading.Thread", "HeldPort", "Server", "Recorder", "cluster"),
    }
)
"""What is another one in each process, or is lost in one that is forked."""


def fixed_pause(source: Source) -> Iterator[str]:
    """A pause of a length that someone guessed; 0 only yields to the event loop, a computed length is a schedule."""
    for node in source.nodes:
        match node:
            case ast.Call(func=func, args=[ast.Constant(value=int() | float() as seconds)]):
                if seconds and dotted(func) in _SLEEPS:
                    yield source.at(
                        node, f"`{dotted(func)}({seconds})`: wait for what you wait for (tests/support/wait.py)"
                    )
            case _:
                pass


def limit_in_seconds(source: Source) -> Iterator[str]:
    """An upper limit on time that a test has measured: how long something takes is a matter of the machine."""
    for function in source.functions():
        spans = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _has_span(node.value, frozenset())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Assert) and any(_has_span(one, spans) for one in _less_than_others(node.test)):
                yield source.at(node, "an upper limit in seconds: say what comes before what, count, use a fake clock")


def _less_than_others(test: ast.expr) -> Iterator[ast.expr]:
    """What a condition wants to be less than something else."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare):
            for left, operator, right in zip((node.left, *node.comparators), node.ops, node.comparators, strict=False):
                if isinstance(operator, ast.Lt | ast.LtE):
                    yield left
                elif isinstance(operator, ast.Gt | ast.GtE):
                    yield right


def _has_span(node: ast.AST, spans: Collection[str]) -> bool:
    """Whether time that has passed is part of it: a clock's reading less another, or one of these names."""
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name) if name in spans:
                return True
            case ast.BinOp(left=ast.Call(func=func), op=ast.Sub()) if dotted(func).endswith(_CLOCKS):
                return True
            case _:
                pass
    return False


def stepping_aside(source: Source) -> Iterator[str]:
    """A test that is not run is not a test."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in _ASIDE:
            yield source.at(node, f"`{dotted(node)}`: start what the test needs, or mend what it found")


def decided_at_import(source: Source) -> Iterator[str]:
    """The processes of a run are forked from one that has imported all tests and is none of them."""
    for node in _at_import(source.tree.body):
        if isinstance(node, ast.Attribute | ast.Call):
            name = dotted(node.func if isinstance(node, ast.Call) else node)
            if name in _OF_THE_PROCESS and (isinstance(node, ast.Call) or name == "os.environ"):
                yield source.at(node, f"`{name}` is asked at import, for all processes at once: ask in a function")


def _at_import(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What is evaluated as a module is imported; of a function that is what it is decorated with, and its defaults."""
    for node in nodes:
        yield node
        match node:
            case (
                ast.FunctionDef(args=args, decorator_list=decorators)
                | ast.AsyncFunctionDef(args=args, decorator_list=decorators)
            ):
                defaults = [default for default in (*args.defaults, *args.kw_defaults) if default is not None]
                yield from _at_import([*decorators, *defaults])
            case ast.Lambda():
                pass
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                pass
            case _:
                yield from _at_import(ast.iter_child_nodes(node))
