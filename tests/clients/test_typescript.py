"""The package for TypeScript: its own tests with a real server, its types, and what npm makes of it.

Its tests are `clients/typescript/test/*.test.ts`, run by `node --test`. The quick tier has a sample of them.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.acceptance.feeds import complete, held_run
from tests.clients.sightings import chromium, page_server
from tests.clients.tools import node_modules, program
from tests.clients.typescript import PACKAGE, ROOT, built, node_tests, run_in, tsc
from tests.provider_usage.test_forms import SHAPES
from tests.support.pages import blocks
from tests.support.server import ADMIN_KEY, Server
from towerlog.provider_usage.forms import FORMS, usage_of

GUIDE = ROOT / "docs" / "guides" / "typescript.md"
REFERENCE = ROOT / "docs" / "reference" / "typescript.md"
PAGES = [GUIDE, REFERENCE, PACKAGE / "README.md", *sorted((ROOT / "docs" / "integrations").glob("*.md"))]
slow = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    ["reporting", *(pytest.param(name, marks=slow) for name in ("control", "follow", "delivery", "compat", "hostile"))],
)
def test_node(fresh_server, name: str) -> None:
    node_tests(fresh_server(), name)


@pytest.fixture
def usages(tmp_path: Path) -> Path:
    """Usages of all forms, with figures that fit together and figures that do not, and what Python makes of them."""
    known: list[tuple[Any, Any]] = [(usage, found(usage)) for usage, _ in SHAPES]
    for form in FORMS:
        fields = (form.input, form.output, form.cached, form.written, form.reasoning, form.total, form.beside_input)
        for counts in itertools.product((None, 0, 7, 100), repeat=4):
            usage: dict[str, Any] = {}
            # Every second field is told, in turns, so that few combinations meet every branch.
            for names, count in zip(fields[sum(c or 0 for c in counts) % 2 :], counts, strict=False):
                if names and count is not None:
                    put(usage, names[-1], count)
            known.append((usage, found(usage)))
    file = tmp_path / "usages.json"
    file.write_text(json.dumps(known))
    return file


def put(usage: dict[str, Any], path: str, count: int) -> None:
    for member in path.split("+"):
        *around, name = member.split(".")
        inner = usage
        for outer in around:
            inner = inner.setdefault(outer, {})
        inner[name] = count


def found(usage: Any) -> dict[str, int] | None:
    try:
        return usage_of(usage)
    except Exception:
        return None


@slow
def test_values(fresh_server, usages: Path) -> None:
    node_tests(fresh_server(), "values", {"TOWERLOG_TESTS_USAGES": str(usages)})


def majors() -> list[tuple[str, str]]:
    """Names under which `package.json` has the AI SDK, and their major versions."""
    wanted = json.loads((PACKAGE / "package.json").read_text())["devDependencies"]
    found = {name: version for name, version in wanted.items() if name == "ai" or name.startswith("ai-")}
    return [(name, version.rpartition("@")[2].partition(".")[0]) for name, version in found.items()]


@slow
@pytest.mark.parametrize(("name", "major"), majors())
def test_the_ai_sdk(fresh_server, name: str, major: str) -> None:
    node_tests(fresh_server(), "ai", {"TOWERLOG_TESTS_AI": name, "TOWERLOG_TESTS_AI_VERSION": major})


def test_what_is_generated_is_up_to_date() -> None:
    node_modules(PACKAGE)
    command = [sys.executable, str(ROOT / "tools" / "typescript_client.py"), "check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_it_names_the_places_that_the_python_package_names() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    urls = {name.lower(): address for name, address in named.get("urls", {}).items()}
    package = json.loads((PACKAGE / "package.json").read_text())
    assert package.get("homepage") == urls.get("homepage")
    assert package.get("repository") == urls.get("repository")
    assert package["license"] == named["license"]


@slow
def test_the_sources_and_the_tests_are_strict() -> None:
    built()
    tsc("tsconfig.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project into which the package was installed as npm packs it, and nothing else."""
    built()
    folder = tmp_path_factory.mktemp("project")
    npm = program("npm")
    run_in(PACKAGE, npm, "pack", "--ignore-scripts", "--pack-destination", str(folder))
    (packed,) = folder.glob("*.tgz")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run_in(folder, npm, "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", str(packed))
    inside = sorted(path.name for path in (folder / "node_modules").iterdir() if not path.name.startswith("."))
    assert inside == ["towerlog"], "it has no dependencies"
    return folder


@slow
@pytest.mark.parametrize("page", [GUIDE, REFERENCE, PACKAGE / "README.md"], ids=lambda page: page.parent.name)
def test_the_code_of_a_page_runs_in_an_empty_project(fresh_server, project: Path, page: Path) -> None:
    server: Server = fresh_server()
    env = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
    library = project / "node_modules" / "ai"
    for number, block in enumerate(blocks(page.read_text(), "js")):
        if '"ai"' in block.text and not library.exists():
            library.symlink_to(node_modules(PACKAGE) / "ai")
        script = project / f"{page.stem}-{number}.mjs"
        script.write_text(block.text)
        run_in(project, program("node"), script.name, env=env)


CONSUMERS = {
    "node": {"module": "nodenext", "moduleResolution": "nodenext", "lib": ["es2022"], "types": ["node"]},
    "bundler": {"module": "es2022", "moduleResolution": "bundler", "lib": ["es2022", "dom"], "types": []},
    "browser": {
        "module": "es2022",
        "moduleResolution": "bundler",
        "customConditions": ["browser"],
        "lib": ["es2022", "dom"],
        "types": [],
    },
}


def strict(project: Path, folder: Path, name: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Compiles what is in a folder as a user of the package would, strictly."""
    modules = folder / "node_modules"
    shutil.copytree(project / "node_modules", modules, symlinks=True)
    for library in ("@types", "undici-types", "ai"):
        if not (modules / library).exists():
            (modules / library).symlink_to(node_modules(PACKAGE) / library)
    (folder / "package.json").write_text('{"type": "module"}')
    compiled = {"strict": True, "noEmit": True, "target": "es2022", **CONSUMERS[name], **options}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": compiled, "include": ["*.ts", "*.mts"]}))
    run_in(folder, program("node"), str(node_modules(PACKAGE) / ".bin" / "tsc"), "--project", "tsconfig.json")


@slow
@pytest.mark.parametrize("name", CONSUMERS)
def test_a_program_that_uses_it_is_strict(project: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(PACKAGE / "test" / "support" / "program.ts", tmp_path)
    strict(project, tmp_path, name, {"exactOptionalPropertyTypes": True})


@slow
def test_the_code_of_all_pages_is_strict(project: Path, tmp_path: Path) -> None:
    found = [(page, block) for page in PAGES for lang in ("js", "ts") for block in blocks(page.read_text(), lang)]
    for page, block in found:
        (tmp_path / f"{page.stem}-{block.line}.mts").write_text(block.text)
    assert {page for page, _ in found} >= {GUIDE, REFERENCE, PACKAGE / "README.md"}
    # Its other libraries are not ours to check.
    strict(project, tmp_path, "node", {"skipLibCheck": True})


PAGE = """<!doctype html><meta charset="utf-8"><title>A page that follows a run</title>
<script type="module">
import {{ Towerlog }} from "/towerlog/browser.js";
let told = Promise.resolve();
const say = (what) => (told = told.then(() => fetch("/seen", {{ method: "POST", body: JSON.stringify(what) }})));
try {{
  const tl = new Towerlog({{ url: "{url}", apiKey: "{key}" }});
  say({{ status: (await tl.get("{run}")).status }});
  for await (const event of tl.follow("{run}")) say({{ seq: event.seq }});
  say({{ end: (await tl.get("{run}")).status }});
}} catch (error) {{
  say({{ error: String(error) }});
}}
</script>"""


@slow
def test_a_page_follows_a_run_over_a_restart_in_chromium(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server(TOWERLOG_CORS_ORIGINS="*")
    run_id = held_run(server.client(), "t", "w")
    key = server.make_key("read")
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(url=server.base_url, key=key, run=run_id))
    dist = built() / "dist"
    files = {f"/towerlog/{path.relative_to(dist)}": path for path in dist.glob("**/*.js")}
    with page_server({"/": page, **files}) as (origin, seen), chromium(origin, tmp_path / "profile"):
        seen.until("seq", 3)
        server.restart()
        complete(server.client(), run_id, "w")
        assert seen.until("end") == ["completed"]
    assert seen.of("seq") == [1, 2, 3, 4]
    assert seen.of("status") == ["running"]
    assert not seen.of("error")
