"""The command line: `towerlog COMMAND`. Hands for people; it can do nothing that the layers below cannot."""

from __future__ import annotations

import click

from towerlog import __version__
from towerlog.cli.admin import keys, orgs
from towerlog.cli.doctor import doctor
from towerlog.cli.exits import exit_codes
from towerlog.cli.export import export
from towerlog.cli.fleet import agents, approve, threads
from towerlog.cli.runs import runs
from towerlog.cli.serve import serve
from towerlog.cli.upkeep import backup, rebuild, verify
from towerlog.cli.worker import execute, worker


@click.group(epilog=f"\b\nExit codes:\n{exit_codes()}", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="towerlog", message="%(prog)s %(version)s")
def main() -> None:
    """Towerlog: one durable, ordered log for every run of your AI agents."""


for command in (
    runs,
    agents,
    threads,
    approve,
    export,
    doctor,
    serve,
    keys,
    orgs,
    verify,
    rebuild,
    backup,
    worker,
    execute,
):
    main.add_command(command)
