"""The law of STYLE.md that no linter knows, held over every file; and a planted fault for each check.

The checks live in tests/support/tidy. A finding says what to do instead. An exception goes into one of the tables
below, with its reason; an exception that is no longer needed fails.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest

from tests.support.tidy import doors, files, habits, shape
from tests.support.tidy.source import PACKAGE, ROOT, Source, read_sources, repository_files

SourceCheck = Callable[[Source], Iterator[str]]
FileCheck = Callable[[str, bytes], Iterator[str]]

ALLOWED: Mapping[tuple[str, str], str] = {}
"""(name of the check, path) → why this file may."""

TESTED_BY: Mapping[str, str] = {"store/base": "tests/contract/test_"}
"""Package → how its tests' paths begin, where they do not stand in its mirror under `tests/`."""

SOURCE_CHECKS: tuple[SourceCheck, ...] = (
    shape.long_functions,
    shape.long_module,
    shape.missing_public_docstrings,
    doors.ambient_use,
    doors.environment_use,
    doors.printing,
    doors.module_state,
    doors.unbounded_queue,
    doors.unbounded_cache,
    doors.sdk_imports,
)
PYTHON_CHECKS: tuple[SourceCheck, ...] = (shape.missing_module_docstring, shape.vague_name)
TEST_CHECKS: tuple[SourceCheck, ...] = (habits.fixed_pause, habits.stepping_aside)
FILE_CHECKS: tuple[FileCheck, ...] = (
    files.oversized,
    files.unended,
    files.unfinished,
    files.machine_path,
    files.registry_host,
)


def hold(findings: Iterable[str]) -> None:
    """Fail with every finding on a line of its own."""
    found = list(findings)
    if found:
        pytest.fail("\n".join([f"{len(found)} found:", *found]), pytrace=False)


def name_of(check: SourceCheck | FileCheck) -> str:
    """The name under which a check stands in ALLOWED and in the test's id."""
    return check.__name__


def over(folder: str, check: SourceCheck) -> Iterator[str]:
    """The findings of a check below a folder, without those that are allowed."""
    for source in read_sources(folder):
        if (name_of(check), source.path) not in ALLOWED:
            yield from check(source)


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=name_of)
def test_source(check: SourceCheck) -> None:
    hold(over(PACKAGE, check))


@pytest.mark.parametrize("check", PYTHON_CHECKS, ids=name_of)
def test_every_python_file(check: SourceCheck) -> None:
    hold(over("", check))


@pytest.mark.parametrize("check", TEST_CHECKS, ids=name_of)
def test_tests(check: SourceCheck) -> None:
    hold(over("tests/", check))


@pytest.mark.parametrize("check", FILE_CHECKS, ids=name_of)
def test_every_file(check: FileCheck) -> None:
    hold(finding for path in repository_files() for finding in check(path, (ROOT / path).read_bytes()))


def test_nine_functions_of_ten_are_short() -> None:
    lengths = [shape.function_lines(function) for source in read_sources(PACKAGE) for function in source.functions()]
    assert shape.ninetieth_percentile(lengths) <= shape.FUNCTION_LINES_P90, (
        "too many long functions; name the steps of the longest and let each be a function"
    )


def test_every_package_has_its_tests() -> None:
    hold(shape.packages_without_test(repository_files(), TESTED_BY))


def test_the_changelog_says_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## \[?Unreleased\]?$", text, re.MULTILINE), "add a `## Unreleased` section to CHANGELOG.md"


def test_every_exception_is_needed_and_has_a_reason() -> None:
    checks = {name_of(check): check for check in (*SOURCE_CHECKS, *PYTHON_CHECKS, *TEST_CHECKS)}
    for (name, path), reason in ALLOWED.items():
        source = Source(path, (ROOT / path).read_text("utf-8"))
        assert list(checks[name](source)), f"{path} needs no exception from {name} any more; take it out"
        assert len(reason.split()) >= 5, f"say in a sentence why {path} may be excepted from {name}"


# From here on: the checks themselves, each with a fault that it must find and a neighbour that it must let pass.

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
    (habits.stepping_aside, "tests/x.py", "import pytest\npytest.skip('no')\n", "`pytest.skip`"),
    (habits.stepping_aside, "tests/x.py", "import pytest\n@pytest.mark.xfail\ndef f(): ...\n", "`pytest.mark.xfail`"),
)

LAWFUL: tuple[tuple[SourceCheck, str, str], ...] = (
    (shape.long_functions, "engine/x.py", "def f():\n" + "    x = 1\n" * 59),
    (shape.long_module, "engine/x.py", "x = 1\n" * 400),
    (shape.missing_module_docstring, "engine/x.py", '"""Owns x."""\n'),
    (shape.missing_module_docstring, "engine/__init__.py", ""),
    (shape.missing_public_docstrings, "model/x.py", "class _Inner: ...\ndef _step(): ...\n"),
    (shape.missing_public_docstrings, "asgi/x.py", "def f(): ...\n"),
    (shape.vague_name, "engine/follow.py", ""),
    (doors.ambient_use, "ambient.py", "import time\n"),
    (doors.ambient_use, "sdk/recorder.py", "import time\n"),
    (doors.ambient_use, "model/x.py", "import uuid, datetime\nuuid.UUID(t)\ndatetime.datetime.fromtimestamp(0, z)\n"),
    (doors.ambient_use, "engine/x.py", "def f(run): return run.timeline, run.randomness\n"),
    (doors.environment_use, "config.py", "import os\nx = os.environ\n"),
    (doors.environment_use, "cli/serve.py", "import os\nx = os.environ\n"),
    (doors.printing, "cli/serve.py", "print('hello')\n"),
    (doors.printing, "server.py", "import sys\nlog = open_log(sys.stderr)\n"),
    (doors.module_state, "engine/x.py", "__all__ = ['a']\nWORDS = {'a': 1}\n_WORDS = [1]\nready = frozenset({1})\n"),
    (doors.module_state, "engine/x.py", "def f():\n    seen = {}\n    seen['a'] = 1\n    return WORDS.get('a')\n"),
    (doors.unbounded_queue, "engine/x.py", "q = deque(maxlen=LIMIT)\nr = asyncio.Queue(LIMIT)\ns = deque([], 3)\n"),
    (doors.unbounded_cache, "engine/x.py", "@cache\ndef f(): ...\n@lru_cache(maxsize=9)\ndef g(x): ...\n"),
    (doors.sdk_imports, "sdk/client.py", "import json\nfrom towerlog import errors\nfrom towerlog.sdk import spool\n"),
    (doors.sdk_imports, "sdk/integrations/other.py", "import pydantic_ai\n"),
    (
        habits.fixed_pause,
        "tests/x.py",
        "async def f(d): await asyncio.sleep(0); await asyncio.sleep(d)\n",
    ),
    (habits.stepping_aside, "tests/x.py", "import pytest\n@pytest.mark.slow\ndef f(): ...\n"),
)


def ids_of(cases: Iterable[tuple[SourceCheck | FileCheck, *tuple[object, ...]]]) -> list[str]:
    """The check and a number, in place of whole programs."""
    return [f"{name_of(check)}-{number}" for number, (check, *_) in enumerate(cases)]


def planted(path: str, text: str) -> Source:
    """A file that exists only here."""
    return Source(path if path.startswith("tests/") else PACKAGE + path, text)


@pytest.mark.parametrize(("check", "path", "text", "words"), PLANTED, ids=ids_of(PLANTED))
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


@pytest.mark.parametrize("check", FILE_CHECKS, ids=name_of)
@pytest.mark.parametrize("content", [b"", b"plain, with homework/ and a todo\n", b"\x89PNG\0\r\n\xff", b"\xff\xfe"])
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
    has = ["src/towerlog/__init__.py", "src/towerlog/engine/core.py", "tests/engine/test_leases.py"]
    assert list(shape.packages_without_test(has, {})) == []
    lacks = [*has, "src/towerlog/config.py", "src/towerlog/store/sqlite/reads.py", "tests/store/test_migrate.py"]
    found = list(shape.packages_without_test(lacks, {"store/sqlite": "tests/contract/test_"}))
    assert len(found) == 2
    assert "write tests/test_*.py" in found[0]
    assert "write tests/contract/test_*.py" in found[1]
    tested = [*lacks, "tests/contract/test_log.py", "tests/test_config.py"]
    assert list(shape.packages_without_test(tested, {"store/sqlite": "tests/contract/test_"})) == []
