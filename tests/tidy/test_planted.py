"""For each tidy check a fault that it must find and a lawful neighbour that it must let pass."""

import dataclasses
from collections.abc import Iterable

import msgspec
import pytest

from tests.support.tables import table
from tests.tidy import doors, files, frozen, habits, rooms, shape, unused
from tests.tidy.checks import (
    FILE_CHECKS,
    PYTHON_CHECKS,
    SOURCE_CHECKS,
    TEST_CHECKS,
    FileCheck,
    SourceCheck,
    name_of,
)
from tests.tidy.source import PACKAGE, Source

LONG = "def f():\n" + "    x = 1\n" * 60


PLANTED: tuple[tuple[SourceCheck, str, str, str], ...] = (
    (shape.long_functions, "engine/x.py", LONG, "has 61 lines"),
    (shape.long_functions, "engine/x.py", "class A:\n  async def f(self):\n" + "    x = 1\n" * 60, "`f` has 61"),
    (shape.long_module, "engine/x.py", "x = 1\n" * 401, "401 lines, the law is 400"),
    (shape.missing_module_docstring, "engine/x.py", "x = 1\n", "begin with a docstring"),
    (shape.missing_public_docstrings, "model/x.py", "class Run:\n    pass\n", "`Run` is public"),
    (
        shape.missing_public_docstrings,
        "store/base/log.py",
        'class A:\n  """A."""\n  def b(self): ...\n',
        "`b` is public",
    ),
    (shape.missing_public_docstrings, "errors.py", "async def f(): ...\n", "`f` is public"),
    (shape.misnamed_bound, "model/x.py", "LONGEST_NAME = 5\n", "`LONGEST_NAME` is a bound"),
    (shape.misnamed_bound, "sdk/x.py", "_NAME_MAX: int = 5\n", "`_NAME_MAX` is a bound"),
    (shape.misnamed_bound, "asgi/x.py", "USUAL_PAGE = 5\n", "`USUAL_PAGE` is a bound"),
    (
        shape.stray_docstring,
        "engine/x.py",
        'from a import b\n"""What b is."""\n',
        "x.py:2: this text describes nothing",
    ),
    (shape.stray_docstring, "engine/x.py", 'A = 1\n"""One."""\n"""Two."""\n', "x.py:3: this text"),
    (shape.stray_docstring, "engine/x.py", 'class A:\n    """A."""\n    f(1)\n    """Of f."""\n', "x.py:4: this text"),
    (shape.stray_docstring, "tests/x.py", 'if a:\n    """Why."""\n    f(1)\n', "x.py:2: this text"),
    (shape.vague_name, "engine/utils.py", "", "`utils` says nothing"),
    (shape.vague_name, "store/sql_helpers.py", "", "`sql_helpers` says nothing"),
    (shape.vague_name, "common/run.py", "", "`common` says nothing"),
    (doors.ambient_use, "engine/x.py", "import time\n", "imports `time`"),
    (doors.ambient_use, "engine/x.py", "from time import monotonic\n", "imports `time.monotonic`"),
    (doors.ambient_use, "engine/x.py", "def f():\n    import random\n", "imports `random`"),
    (doors.ambient_use, "asgi/x.py", "import secrets as s\n", "imports `secrets`"),
    (doors.ambient_use, "asgi/x.py", "import datetime\nnow = datetime.datetime.now()\n", "datetime.datetime.now"),
    (doors.ambient_use, "asgi/x.py", "from datetime import date\nd = date.today()\n", "`date.today`"),
    (doors.ambient_use, "model/x.py", "from uuid import uuid4\n", "imports `uuid.uuid4`"),
    (doors.ambient_use, "model/x.py", "import uuid\nmake = uuid.uuid4\n", "reads `uuid.uuid4`"),
    (doors.ambient_use, "store/x.py", "import os\nb = os.urandom(4)\n", "reads `os.urandom`"),
    (doors.ambient_use, "engine/x.py", "import asyncio\nt = asyncio.get_running_loop().time()\n", "loop().time"),
    (doors.ambient_use, "engine/x.py", "def f(self): return self.loop.time()\n", "reads `self.loop.time`"),
    (doors.environment_use, "server.py", "import os\nx = os.environ['A']\n", "reads `os.environ`"),
    (doors.environment_use, "engine/x.py", "from os import getenv\n", "imports `os.getenv`"),
    (doors.driver_transaction, "store/sqlite/x.py", "with db:\n  pass\n", "`with db`: a transaction"),
    (doors.driver_transaction, "store/x.py", "with self._db as one:\n  pass\n", "`with whole(self._db)`"),
    (doors.outgoing_use, "engine/x.py", "import urllib.request\n", "imports `urllib.request`"),
    (
        doors.outgoing_use,
        "asgi/x.py",
        "from http.client import HTTPSConnection\n",
        "imports `http.client.HTTPSConnection`",
    ),
    (doors.outgoing_use, "server.py", "import httpx2\n", "imports `httpx2`"),
    (doors.outgoing_use, "engine/x.py", "import socket\ns = socket.create_connection(a)\n", "socket.create_connection"),
    (
        doors.outgoing_use,
        "engine/x.py",
        "async def f(loop): await loop.sock_connect(s, a)\n",
        "reads `loop.sock_connect`",
    ),
    (doors.evaluation, "engine/x.py", "def f(text): return eval(text)\n", "calls `eval`"),
    (doors.evaluation, "sdk/x.py", "code = compile(text, 'x', 'exec')\n", "calls `compile`"),
    (doors.evaluation, "cli/x.py", "import pickle as p\n", "imports `pickle`"),
    (doors.evaluation, "asgi/x.py", "from xml.etree import ElementTree\n", "imports `xml.etree.ElementTree`"),
    (doors.printing, "engine/x.py", "print('hello')\n", "calls `print`"),
    (doors.printing, "server.py", "import sys\nsys.stderr.write('x')\n", "calls `sys.stderr.write`"),
    (doors.module_state, "engine/x.py", "seen = {}\n", "`seen` is mutable state"),
    (doors.module_state, "engine/x.py", "_seen: set[str] = set()\n", "`_seen` is mutable state"),
    (
        doors.module_state,
        "engine/x.py",
        "import collections\nlast = collections.deque(maxlen=3)\n",
        "`last` is mutable",
    ),
    (doors.module_state, "engine/x.py", "def f():\n    global count\n    count = 1\n", "`global count`"),
    (doors.module_state, "engine/x.py", "SEEN = {}\ndef f(x):\n    SEEN[x] = 1\n", "changes the constant `SEEN`"),
    (doors.module_state, "engine/x.py", "SEEN = []\ndef f(x):\n    SEEN.append(x)\n", "changes the constant `SEEN`"),
    (doors.unbounded_queue, "engine/x.py", "import asyncio\nq = asyncio.Queue()\n", "`Queue` without a bound"),
    (doors.unbounded_queue, "engine/x.py", "from queue import Queue\nq = Queue(maxsize=0)\n", "give it `maxsize=`"),
    (doors.unbounded_queue, "engine/x.py", "from collections import deque\nq = deque([1])\n", "give it `maxlen=`"),
    (doors.unbounded_queue, "engine/x.py", "q = deque(maxlen=None)\n", "`deque` without a bound"),
    (doors.unbounded_queue, "engine/x.py", "import queue\nq = queue.SimpleQueue()\n", "cannot be bounded"),
    (doors.unbounded_cache, "engine/x.py", "@functools.cache\ndef f(x): return x\n", "`f` caches without a bound"),
    (doors.unbounded_cache, "engine/x.py", "@lru_cache(maxsize=None)\ndef f(x): return x\n", "`f` caches"),
    (doors.sdk_imports, "sdk/__init__.py", "import msgspec\n", "imports `msgspec`"),
    (doors.sdk_imports, "sdk/client.py", "from towerlog.model import event\n", "imports `towerlog.model.event`"),
    (habits.fixed_pause, "tests/x.py", "import time\ntime.sleep(0.5)\n", "wait for what you wait for"),
    (habits.fixed_pause, "tests/x.py", "import asyncio\nasync def f(): await asyncio.sleep(1)\n", "asyncio.sleep(1)"),
    (
        habits.limit_in_seconds,
        "tests/x.py",
        "def f():\n    a = time.monotonic()\n    g()\n    assert time.monotonic() - a < 5\n",
        "x.py:4: an upper limit",
    ),
    (
        habits.limit_in_seconds,
        "tests/x.py",
        "async def f(a):\n    took = 1000 * (asyncio.get_running_loop().time() - a)\n    assert 0 < g() > 3 * took\n",
        "x.py:3: an upper limit",
    ),
    (habits.stepping_aside, "tests/x.py", "import pytest\npytest.skip('no')\n", "`pytest.skip`"),
    (habits.stepping_aside, "tests/x.py", "import pytest\n@pytest.mark.xfail\ndef f(): ...\n", "`pytest.mark.xfail`"),
    (habits.decided_at_import, "tests/x.py", "import os\nHOME = os.environ['HOME']\n", "`os.environ` is asked"),
    (habits.decided_at_import, "tests/x.py", "class A:\n    def f(self, now=time.time()): ...\n", "`time.time` is"),
    (habits.decided_at_import, "tests/x.py", "@mark('x', [uuid4() for _ in 'ab'])\ndef f(): ...\n", "`uuid4` is"),
)

LAWFUL: tuple[tuple[SourceCheck, str, str], ...] = (
    (doors.driver_transaction, "store/sqlite/x.py", "with whole(db), self._lock, open(a) as b:\n  pass\n"),
    (doors.driver_transaction, "sdk/x.py", "with self._news:\n  pass\n"),
    (shape.long_functions, "engine/x.py", "def f():\n" + "    x = 1\n" * 59),
    (shape.long_module, "engine/x.py", "x = 1\n" * 400),
    (shape.missing_module_docstring, "engine/x.py", '"""Owns x."""\n'),
    (shape.missing_module_docstring, "engine/__init__.py", ""),
    (shape.missing_public_docstrings, "model/x.py", "class _Inner: ...\ndef _step(): ...\n"),
    (shape.missing_public_docstrings, "asgi/x.py", "def f(): ...\n"),
    (shape.misnamed_bound, "model/x.py", "MAX_NAME_CHARS = 5\nMOST = 1\nALMOST_FULL = 2\n"),
    (
        shape.stray_docstring,
        "engine/x.py",
        '"""A."""\nX = 1\n"""B."""\nclass Y:\n    """C."""\n    z: int\n    """D."""\n',
    ),
    (shape.stray_docstring, "engine/x.py", 'def f(self):\n    """A."""\n    self.x = 1\n    """B."""\n'),
    (shape.vague_name, "engine/follow.py", ""),
    (doors.ambient_use, "ambient.py", "import time\n"),
    (doors.ambient_use, "sdk/recorder.py", "import time\n"),
    (doors.ambient_use, "model/x.py", "import uuid, datetime\nuuid.UUID(t)\ndatetime.datetime.fromtimestamp(0, z)\n"),
    (doors.ambient_use, "engine/x.py", "def f(run): return run.timeline, run.randomness\n"),
    (doors.environment_use, "config.py", "import os\nx = os.environ\n"),
    (doors.environment_use, "cli/serve.py", "import os\nx = os.environ\n"),
    (doors.outgoing_use, "egress/http.py", "import asyncio\na = asyncio.open_connection\n"),
    (doors.outgoing_use, "sdk/wire/http.py", "import http.client\n"),
    (doors.outgoing_use, "asgi/x.py", "import socket\nfrom urllib.parse import quote\ns = socket.socket()\n"),
    (doors.evaluation, "cli/x.py", "import json, re\nfound = re.compile('x').match(json.loads(text))\n"),
    (doors.printing, "cli/serve.py", "print('hello')\n"),
    (doors.printing, "server.py", "import sys\nlog = open_log(sys.stderr)\n"),
    (doors.module_state, "engine/x.py", "__all__ = ['a']\nWORDS = {'a': 1}\n_WORDS = [1]\nready = frozenset({1})\n"),
    (
        doors.module_state,
        "engine/x.py",
        "def f():\n    seen = {}\n    seen['a'] = 1\n    return WORDS.get('a')\n",
    ),
    (doors.unbounded_queue, "engine/x.py", "q = deque(maxlen=LIMIT)\nr = asyncio.Queue(LIMIT)\ns = deque([], 3)\n"),
    (doors.unbounded_cache, "engine/x.py", "@cache\ndef f(): ...\n@lru_cache(maxsize=9)\ndef g(x): ...\n"),
    (doors.sdk_imports, "sdk/client.py", "import json\nfrom towerlog import errors\nfrom towerlog.sdk import spool\n"),
    (doors.sdk_imports, "sdk/integrations/other.py", "import pydantic_ai\n"),
    (
        habits.fixed_pause,
        "tests/x.py",
        "async def f(d): await asyncio.sleep(0); await asyncio.sleep(d)\n",
    ),
    (
        habits.limit_in_seconds,
        "tests/x.py",
        "def f(a, ends_at):\n    took = time.monotonic() - a\n    assert took >= 5 and count <= 4 * took\n"
        "    assert time.monotonic() < ends_at\n",
    ),
    (habits.stepping_aside, "tests/x.py", "import pytest\n@pytest.mark.slow\ndef f(): ...\n"),
    (
        habits.decided_at_import,
        "tests/x.py",
        "def f(clock=time.time): return os.environ\ng = lambda: uuid4()\n"
        "if __name__ == '__main__':\n    f(os.getpid())\n",
    ),
)


def ids_of(cases: Iterable[tuple[SourceCheck | FileCheck, *tuple[object, ...]]]) -> list[str]:
    """The check and a number, in place of whole programs."""
    return [f"{name_of(check)}-{number}" for number, (check, *_) in enumerate(cases)]


def planted(path: str, text: str) -> Source:
    """A file that exists only here."""
    return Source(path if path.startswith("tests/") else PACKAGE + path, text)


@table("check, path, text, words", PLANTED, ids=lambda value: name_of(value) if callable(value) else value[:30])
def test_a_planted_fault_is_found(check: SourceCheck, path: str, text: str, words: str) -> None:
    found = list(check(planted(path, text)))
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith(planted(path, text).path)


@pytest.mark.parametrize(("check", "path", "text"), LAWFUL, ids=ids_of(LAWFUL))
def test_what_is_lawful_passes(check: SourceCheck, path: str, text: str) -> None:
    assert list(check(planted(path, text))) == []


PLANTED_FILES: tuple[tuple[FileCheck, bytes, str], ...] = (
    (files.oversized, b"a" * (files.FILE_BYTES + 1), "1048577 bytes"),
    (files.unended, b"a\nb", "end the file with a newline"),
    (files.unended, b"a\r\nb\r\n", "with a line feed alone"),
    (files.unfinished, b"fine\n# TO" + b"DO later\n", "x.md:2: `TO"),
    (files.unfinished, b"FIX" + b"ME\n", "file an issue"),
    (files.machine_path, b"see /wo" + b"rk/main\n", "one machine only"),
    (files.machine_path, b"see .." + b"/shared/wire\n", "write a relative path"),
    (files.registry_host, b"https://files.pythonho" + b"sted.org/x\n", "name the package"),
)


@pytest.mark.parametrize(("check", "content", "words"), PLANTED_FILES, ids=ids_of(PLANTED_FILES))
def test_a_planted_fault_in_any_file_is_found(check: FileCheck, content: bytes, words: str) -> None:
    found = list(check("x.md", content))
    assert len(found) == 1
    assert words in found[0]


@table("check", FILE_CHECKS, ids=name_of)
@table("content", [b"", b"plain, with homework/ and a todo\n", b"\x89PNG\0\r\n\xff", b"\xff\xfe"])
def test_an_ordinary_file_passes(check: FileCheck, content: bytes) -> None:
    assert list(check("x", content)) == []


def test_every_check_has_a_planted_fault_and_a_lawful_neighbour() -> None:
    of_sources = {*SOURCE_CHECKS, *PYTHON_CHECKS, *TEST_CHECKS}
    assert {check for check, *_ in PLANTED} == of_sources
    assert {check for check, *_ in LAWFUL} == of_sources
    assert {check for check, *_ in PLANTED_FILES} == {*FILE_CHECKS}


def test_the_percentile_is_of_nine_in_ten() -> None:
    assert shape.ninetieth_percentile([]) == 0
    assert shape.ninetieth_percentile([10] * 9 + [50]) == 50
    assert shape.ninetieth_percentile([10] * 19 + [50]) == 10


def test_a_package_without_a_test_is_found() -> None:
    has = ["src/towerlog/__init__.py", "src/towerlog/engine/timers/leases.py", "tests/engine/timers/test_leases.py"]
    assert list(rooms.packages_without_test(has, {})) == []
    lacks = [*has, "src/towerlog/config.py", "src/towerlog/store/base.py"]
    found = list(rooms.packages_without_test(lacks, {"store": "tests/contract/"}))
    assert [finding.partition(": ")[0] for finding in found] == ["src/towerlog/.", "src/towerlog/store"]
    assert "write tests/test_" in found[0]
    assert "write tests/contract/" in found[1]
    full = [*lacks, "tests/test_config.py", "tests/contract/test_log.py"]
    assert list(rooms.packages_without_test(full, {"store": "tests/contract/"})) == []


def test_the_test_of_a_package_is_not_the_one_of_another() -> None:
    has = ["src/towerlog/config.py", "src/towerlog/store/x.py", "tests/store/sqlite/notes.py", "tests/wake/test_x.py"]
    assert len(list(rooms.packages_without_test(has, {}))) == 2


def test_a_crowded_folder_is_found() -> None:
    full = [f"src/towerlog/engine/m{number}.py" for number in range(rooms.FOLDER_FILES)]
    full.append("src/towerlog/engine/__init__.py")
    beside = ["src/towerlog/engine/sql/0001.sql", "src/towerlog/engine/below/x.py", "tests/engine/test_x.py"]
    assert rooms.crowded_folders([*full, *beside], ()) == {}
    crowded = [*full, "src/towerlog/engine/one_more.py"]
    assert rooms.crowded_folders(crowded, ()) == {"engine": 15}
    assert rooms.crowded_folders(crowded, {"engine"}) == {}


def test_a_name_that_is_given_twice_is_found() -> None:
    one, two = planted("asgi/routes.py", "class Page: ...\n"), planted("model/outcome.py", "class Page: ...\n")
    inner = planted("model/x.py", "class _Page: ...\ndef f():\n    class Page: ...\n")
    assert rooms.names_given_twice([one, two, inner]) == {"Page": 2}
    assert rooms.names_given_twice([one, inner, planted("sdk/calls.py", "class Page: ...\n")]) == {}


DEAD = """
MAX_CALLS = 5
Wait: int = 3
USED = 1

def lost() -> int:
    return USED

@command("x")
def registered() -> None: ...

class Row:
    def seen(self) -> None: ...
    @property
    def rests(self) -> bool: ...
    def __repr__(self) -> str: ...

class Gone: ...
"""


def test_what_only_tests_name_is_found() -> None:
    source = planted("engine/x.py", DEAD)
    user = Source("bench/run.py", "from towerlog.engine.x import Row\nprint(Row().seen)\n")
    found = list(unused.named_nowhere([source, user], {}))
    assert [finding.split("`")[1] for finding in found] == ["MAX_CALLS", "Wait", "lost", "rests", "Gone"]
    assert found[0].startswith("src/towerlog/engine/x.py:2: ")
    allowed = {"engine/x.py": {"MAX_CALLS", "Wait", "lost", "rests", "Gone"}}
    assert list(unused.named_nowhere([source, user], allowed)) == []
    [finding] = unused.named_nowhere([source, user], {"engine/x.py": {*allowed["engine/x.py"], "seen"}})
    assert "`seen` needs no exception" in finding


@table(
    "text, words",
    [
        ("The same of a lane.", "x.py:2: `The same of a lane.` says nothing"),
        ("Of an id as JSON.", "`Of an id as JSON.`"),
        ("It waits no more.", "`It waits no more.`"),
        ("Those of a session.", "`Those of a session.`"),
        ("All of them.", "begin with a noun or a verb"),
        ("Six.", "`Six.`"),
        ("None.", "`None.`"),
    ],
)
def test_a_text_that_needs_its_neighbours_is_found(text: str, words: str) -> None:
    found = list(shape.dangling_docstring(planted("engine/x.py", f'def f():\n    """{text}"""\n')))
    assert len(found) == 1
    assert words in found[0]


def test_a_text_that_can_be_read_alone_is_let_pass() -> None:
    texts = ["Runs per query.", "Starts empty.", "Offset in bytes.", "Item that is left.", "Oneness of a thing."]
    whole = "".join(f'def f{number}():\n    """{text}"""\n' for number, text in enumerate(texts))
    assert list(shape.dangling_docstring(planted("engine/x.py", whole))) == []
    assert list(shape.dangling_docstring(Source("tests/x.py", '"""Of a test."""\n'))) == [], "tests are left out"


def test_what_is_left_to_move_may_only_become_less() -> None:
    assert list(rooms.complaints({"engine": 27}, {"engine": 27}, "split it")) == []
    assert list(rooms.complaints({"engine": 28}, {"engine": 27}, "split it")) == ["engine: 28; split it"]
    assert "bring STILL_TO_MOVE up to date" in next(rooms.complaints({"engine": 20}, {"engine": 27}, "split it"))
    assert "bring STILL_TO_MOVE up to date" in next(rooms.complaints({}, {"engine": 27}, "split it"))


class _Loose(msgspec.Struct):
    field: int = 0


class _Fixed(msgspec.Struct, frozen=True):
    field: int = 0


@dataclasses.dataclass
class _LooseData:
    field: int = 0


@dataclasses.dataclass(frozen=True)
class _FixedData:
    field: int = 0


@pytest.mark.parametrize(("fixed", "loose"), [(_Fixed, _Loose), (_FixedData, _LooseData)])
def test_a_value_that_can_be_changed_is_found(fixed: type, loose: type) -> None:
    assert list(frozen.unfrozen([fixed], ())) == []
    assert f"{loose.__name__}: declare it" in next(frozen.unfrozen([loose, fixed], ()))
    assert list(frozen.unfrozen([loose], {loose.__name__})) == []
    with pytest.raises(AttributeError):
        fixed().field = 1


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("towerlog.dialects.lanes.dialect.RefusalReply", True),
        ("towerlog.dialects.native.events._Named", True),
        ("towerlog.dialects.base.Call", False),
        ("towerlog.model.run.RunReply", False),
        ("towerlog.dialects.base.Body.Part", False),
    ],
)
def test_a_wire_form_is_known_by_its_name(name: str, is_one: bool) -> None:
    assert bool(frozen.WIRE_FORM.match(name)) == is_one
