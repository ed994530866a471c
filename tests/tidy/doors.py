"""The doors of the source: time, randomness, environment and printing each have one; state and queues have bounds.

Each check yields findings for one file. The exceptions are listed, with their reasons, in tests/tidy/exceptions.py.
"""

import ast
import sys
from collections.abc import Iterator, Mapping

from tests.tidy.source import Source, dotted

AMBIENT = "ambient.py"
SDK = "sdk/"
STORE = "store/"
_OF_SDK = ("towerlog.sdk", "towerlog.errors", "towerlog.provider_usage")
EGRESS = "egress/"

_AMBIENT_MODULES = frozenset({"time", "random", "secrets"})
_AMBIENT_NAMES = frozenset(
    {
        *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
        *("os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"),
        *("loop.time", "get_running_loop().time", "get_event_loop().time"),
    }
)
_EVALUATING = frozenset({"eval", "exec", "compile", "__import__"})
_RUNNING_FORMATS = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "xml", "lxml", "plistlib"})
_OUTGOING_MODULES = (
    *(
        "aiohttp",
        "ftplib",
        "http.client",
        "httpx",
        "imaplib",
        "poplib",
        "requests",
        "smtplib",
        "urllib.request",
        "urllib3",
    ),
    *("asyncio.open_connection", "socket.create_connection"),
)
_OUTGOING_NAMES = frozenset(
    {
        *("asyncio.open_connection", "socket.create_connection", "loop.create_connection", "loop.sock_connect"),
        *("get_running_loop().create_connection", "get_running_loop().sock_connect"),
        *("loop.create_datagram_endpoint", "anyio.connect_tcp"),
    }
)
_CONTAINERS = frozenset({"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"})
_CHANGES = frozenset(
    {"append", "add", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
)
_QUEUES: Mapping[str, tuple[str, int]] = {
    "deque": ("maxlen", 1),
    "Queue": ("maxsize", 0),
    "LifoQueue": ("maxsize", 0),
    "PriorityQueue": ("maxsize", 0),
}
"""Constructor → the argument that bounds it, by keyword and by position."""


def _ends_with_any(name: str, endings: frozenset[str]) -> bool:
    return any(name == ending or name.endswith(f".{ending}") for ending in endings)


def _imported(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """(statement, full dotted name) of everything that is imported anywhere in the file."""
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                yield from ((node, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from ((node, f"{module or ''}.{alias.name}") for alias in names)
            case _:
                pass


def ambient_use(source: Source) -> Iterator[str]:
    """Time or randomness read past its door."""
    if source.inside == AMBIENT or source.inside.startswith(SDK):
        return
    advice = "take a Clock or Ids (towerlog.ambient) as an argument, so that a simulation can hold it"
    for statement, name in _imported(source):
        if name.partition(".")[0] in _AMBIENT_MODULES or name in _AMBIENT_NAMES:
            yield source.at(statement, f"imports `{name}`; {advice}")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and _ends_with_any(dotted(node), _AMBIENT_NAMES):
            yield source.at(node, f"reads `{dotted(node)}`; {advice}")


def environment_use(source: Source) -> Iterator[str]:
    """The environment read anywhere but where settings are made."""
    if source.inside == "config.py" or source.inside.startswith(("cli/", SDK)):
        return
    doors = frozenset({"os.environ", "os.environb", "os.getenv", "os.putenv"})
    advice = "add a setting to towerlog.config and take its value as an argument"
    for statement, name in _imported(source):
        if name in doors:
            yield source.at(statement, f"imports `{name}`; {advice}")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in doors:
            yield source.at(node, f"reads `{dotted(node)}`; {advice}")


def outgoing_use(source: Source) -> Iterator[str]:
    """A way out of the machine beside the one that has the guard; commands and the SDK talk to a server of ours."""
    if source.inside.startswith((EGRESS, "cli/", SDK)):
        return
    advice = "what goes out goes through towerlog.egress, which checks where to"
    for statement, name in _imported(source):
        if name.startswith(_OUTGOING_MODULES):
            yield source.at(statement, f"imports `{name}`; {advice}")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and _ends_with_any(dotted(node), _OUTGOING_NAMES):
            yield source.at(node, f"reads `{dotted(node)}`; {advice}")


def evaluation(source: Source) -> Iterator[str]:
    """Anything by which data could become a program: evaluation, and formats whose readers call what they name."""
    advice = "data stays data: read it as JSON, or as a value of a type"
    for statement, name in _imported(source):
        if name.partition(".")[0] in _RUNNING_FORMATS:
            yield source.at(statement, f"imports `{name}`; {advice}")
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _EVALUATING:
            yield source.at(node, f"calls `{node.func.id}`; {advice}")


def printing(source: Source) -> Iterator[str]:
    """Words for a person anywhere but in the cli."""
    if source.inside.startswith("cli/"):
        return
    outlets = frozenset({"print", "sys.stdout.write", "sys.stderr.write"})
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in outlets:
            yield source.at(node, f"calls `{dotted(node.func)}`; log it (structlog), or return it to the cli")


def module_state(source: Source) -> Iterator[str]:
    """State that outlives a call and belongs to nobody: module variables, `global`, a constant that is changed."""
    advice = "let an object own it and hand that object down, or make it an UPPER_CASE constant that nothing changes"
    for statement in source.tree.body:
        for name in _variables_made(statement):
            yield source.at(statement, f"`{name}` is mutable state of a module; {advice}")
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield source.at(node, f"`global {', '.join(node.names)}` is mutable state of a module; {advice}")
        elif name := _constant_changed(node):
            yield source.at(node, f"changes the constant `{name}`; {advice}")


def _variables_made(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=targets, value=value) if _is_container(value):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if _is_container(value):
            names = [name]
        case _:
            return
    yield from (name for name in names if not name.isupper() and not name.startswith("__"))


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return _ends_with_any(dotted(value.func), _CONTAINERS)
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _constant_changed(node: ast.AST) -> str:
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name.isupper():
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name.isupper() and attr in _CHANGES:
            return name
        case _:
            return ""


def unbounded_queue(source: Source) -> Iterator[str]:
    """A queue that grows as long as someone feeds it."""
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        kind = dotted(node.func).rpartition(".")[2]
        if kind == "SimpleQueue":
            yield source.at(node, "`SimpleQueue` cannot be bounded; use `Queue(maxsize=…)`")
        elif kind in _QUEUES and not _is_bounded(node, *_QUEUES[kind]):
            yield source.at(node, f"`{kind}` without a bound; give it `{_QUEUES[kind][0]}=` and a named limit")


def _is_bounded(call: ast.Call, keyword: str, position: int) -> bool:
    given = [argument.value for argument in call.keywords if argument.arg == keyword]
    given += call.args[position : position + 1]
    return bool(given) and not (isinstance(given[0], ast.Constant) and not given[0].value)


def unbounded_cache(source: Source) -> Iterator[str]:
    """A cache that remembers every argument it was ever given."""
    for function in source.functions():
        if not function.args.args and not function.args.kwonlyargs:
            continue
        for mark in function.decorator_list:
            called = isinstance(mark, ast.Call)
            name = dotted(mark.func if isinstance(mark, ast.Call) else mark).removeprefix("functools.")
            endless = isinstance(mark, ast.Call) and name == "lru_cache" and not _is_lru_bounded(mark)
            if (name == "cache" and not called) or endless:
                yield source.at(function, f"`{function.name}` caches without a bound; use `lru_cache(maxsize=…)`")


def _is_lru_bounded(call: ast.Call) -> bool:
    given = [argument.value for argument in call.keywords if argument.arg == "maxsize"] + call.args[:1]
    return not (given and isinstance(given[0], ast.Constant) and given[0].value is None)


def driver_transaction(source: Source) -> Iterator[str]:
    """A connection of SQLite's driver as a context: its end waits for the disk, and no other thread runs meanwhile."""
    if not source.inside.startswith(STORE):
        return
    for node in source.nodes:
        if isinstance(node, ast.With):
            contexts = [item.context_expr for item in node.items]
            names = [dotted(context) for context in contexts if isinstance(context, ast.Name | ast.Attribute)]
            for name in names:
                if not name.lower().endswith("lock"):
                    yield source.at(node, f"`with {name}`: a transaction is `with whole({name})`")


def sdk_imports(source: Source) -> Iterator[str]:
    """What a user would have to install, or the server's insides, in the SDK; frameworks go into integrations/."""
    if not source.inside.startswith(SDK) or source.inside.startswith(f"{SDK}integrations/"):
        return
    for statement, name in _imported(source):
        own = name.startswith(tuple(f"{one}." for one in _OF_SDK)) or name in _OF_SDK
        if not own and name.partition(".")[0] not in sys.stdlib_module_names:
            yield source.at(
                statement, f"imports `{name}`; the SDK stands on the standard library and {', '.join(_OF_SDK)}"
            )
