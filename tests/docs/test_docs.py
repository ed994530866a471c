"""The docs say what the program does: generated parts are up to date, examples run, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.clients.tools import program
from tests.support.pages import blocks, environment, run_python, save_files, wrong
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.tables import table
from towerlog.sdk.api.client import Client

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


OF_FRAMEWORKS = ROOT / "docs" / "integrations"
"""Their Python needs a framework: `tests/sdk/integrations` runs it, in the environment that has it."""


def with_blocks(language: str) -> list[Path]:
    """The pages, but for the README and those of frameworks, that have blocks of a language."""
    pages = [page for page in PAGES if name_of(page) != "README.md" and page.parent != OF_FRAMEWORKS]
    return [page for page in pages if blocks(page.read_text(), language)]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server of a page's own; the environment that a reader has beside it."""
    server = Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_EGRESS_ALLOW": "127.0.0.1"})
    try:
        server.start()
        yield environment(tmp_path, server.base_url, ADMIN_KEY, TOWERLOG_DATA_DIR=str(server.data_dir))
    finally:
        server.close()


@pytest.mark.parametrize("page", with_blocks("console"), ids=name_of)
def test_the_console_blocks_of_a_page_come_out_as_it_says(page, tmp_path, served) -> None:
    text = page.read_text()
    # What a page's Python does belongs to its story: it comes between its console blocks.
    run_python(page, served, without=served_files(text))
    save_files(text, tmp_path)
    found = wrong(name_of(page), text, tmp_path, served)
    assert not found, "\n\n".join(found)


INSTALLED = re.compile(r"^pip install ((?:[^\\\n]|\\\n)+)$", re.MULTILINE)
IMPORTED = re.compile(r"^(?:from|import) ([a-z]+).*$", re.MULTILINE)
OF_THEIR_OWN_INSTALL = [page for page in sorted(OF_FRAMEWORKS.glob("*.md")) if INSTALLED.search(page.read_text())]


@pytest.mark.parametrize("page", OF_THEIR_OWN_INSTALL, ids=name_of)
def test_what_the_program_of_a_framework_imports_is_installed_as_its_page_says(page) -> None:
    """By the first word of the packages, and by the providers whose names the imports have."""
    text = page.read_text()
    installed = " ".join(found[1] for found in INSTALLED.finditer(text))
    packages = {re.split(r"[-\[ ]", name.strip("'"))[0] for name in installed.replace("\\\n", " ").split()}
    [program_] = blocks(text, "python")
    imported = list(IMPORTED.finditer(program_.text))
    assert {found[1] for found in imported} - sys.stdlib_module_names <= packages
    providers = {name for name in ("openai", "anthropic") for found in imported if name in found[0].lower()}
    assert {name for name in providers if name not in installed} == set()


# They go on until somebody stops them; the tests of live rows run an example that does the same.
UNENDING = {block.text for page in PAGES for block in blocks(page.read_text(), "python") if ".watch(" in block.text}
WITHOUT_CONSOLE = [page for page in with_blocks("python") if page not in with_blocks("console")]


@pytest.mark.parametrize("page", WITHOUT_CONSOLE, ids=name_of)
def test_the_python_blocks_of_a_page_run(page, served) -> None:
    run_python(page, served, without=UNENDING)


SHELL_OF = sorted((ROOT / "docs" / "dialects").glob("*.md"))
REFUSED = r"^HTTP (400|404|405|415|422)"


@pytest.mark.parametrize("page", SHELL_OF, ids=name_of)
def test_the_shell_blocks_of_a_dialect_are_well_formed_requests(page, tmp_path, served) -> None:
    """Some are refused by the state of a run, as their page says: none for a path, a parameter or a body."""
    script = "\n".join(block.text for block in blocks(page.read_text(), "sh"))
    # So long a stream is read that goes on: one second shows what five do.
    script = re.sub(r"--max-time \d+", "--max-time 1", script)
    shown = f"curl() {{ {program('curl')} -w '%{{stderr}}HTTP %{{http_code}} %{{url}}\\n' \"$@\"; }}\n{script}"
    done = subprocess.run(
        ["bash", "-c", shown], cwd=tmp_path, env=served, capture_output=True, text=True, timeout=300, check=False
    )
    assert "HTTP 20" in done.stderr
    assert not re.findall(REFUSED, done.stderr, re.MULTILINE), done.stderr + done.stdout


def served_files(text: str) -> set[str]:
    """The Python blocks of a page that its console blocks serve, as `towerlog worker --app NAME:app`."""
    served = re.findall(r"--app (\w+):", "".join(block.text for block in blocks(text, "console")))
    return {
        block.text for block in blocks(text, "python") if block.text.startswith(tuple(f"# {n}.py\n" for n in served))
    }


def test_the_generated_parts_are_up_to_date(generate) -> None:
    stale = [name_of(page) for page in generate.outdated()]
    assert stale == [], "run .venv/bin/python docs/generate.py"


def test_every_generated_part_stands_on_a_page(generate) -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert set(generate.SECTIONS) == set(re.findall(r"<!-- generated: ([a-z-]+) -->", text))


def test_a_stale_part_is_noticed_and_renewed(generate) -> None:
    page = "before\n<!-- generated: exit-codes -->\nold\n<!-- /generated -->\nafter\n"
    fresh = generate.renewed(page)
    assert fresh.startswith("before\n<!-- generated: exit-codes -->\n| Code |")
    assert fresh.endswith("|\n<!-- /generated -->\nafter\n")
    assert generate.renewed(fresh) == fresh


def targets(page: Path) -> Iterator[str]:
    """Where the links of a page lead, those to other sites left out."""
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be linked by."""
    heads = re.findall(r"^#+ (.+)$", CODE.sub(lambda found: found[0].strip("`"), page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@table("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page) -> None:
    for target in targets(page):
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name_of(page)}: {target}"
        assert not fragment or fragment in anchors(there), f"{name_of(page)}: {target}"


def test_every_page_of_the_docs_is_linked_from_another() -> None:
    linked = {(page.parent / target.partition("#")[0]).resolve() for page in PAGES for target in targets(page)}
    folders = {there for there in linked if there.is_dir()}
    lonely = [
        name_of(page) for page in PAGES if page.parent != ROOT and page not in linked and page.parent not in folders
    ]
    assert lonely == []


NAMED = re.compile(r"`(?:src/towerlog/)?((?:[a-z_]+/)+(?:[a-z_0-9]+\.(?:py|sql|md|toml))?)`")
ROOMS_OF_CODE = ROOT / "src" / "towerlog"


def named_paths(page: Path) -> Iterator[str]:
    """Files and folders of the project that a page names; records that are superseded keep those of their time."""
    text = page.read_text()
    if "Status: superseded" not in text:
        yield from NAMED.findall(text)


@table("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_paths_on_a_page_exist(page) -> None:
    beginnings = (ROOMS_OF_CODE, ROOT, ROOT / "docs")
    missing = [path for path in named_paths(page) if not any((begin / path).exists() for begin in beginnings)]
    assert missing == [], f"{name_of(page)} names paths that are not there"


def test_every_package_that_is_described_exists(generate) -> None:
    gone = [room for room in generate.ROOMS if not any((ROOMS_OF_CODE / room).glob("*.py"))]
    assert gone == [], "take these out of ROOMS in docs/generate.py"


def test_every_method_of_the_client_stands_once_in_the_table_of_the_sdk() -> None:
    text = (ROOT / "docs" / "reference" / "sdk.md").read_text("utf-8")
    table = text.partition("| About | Methods |")[2].partition("\n\n")[0]
    told = [name for name in re.findall(r"`(\w+)`", table) if name != "record_run"]
    public = {name for name in dir(Client) if not name.startswith("_") and callable(getattr(Client, name))}
    assert sorted(told) == sorted(public - {"close"})
