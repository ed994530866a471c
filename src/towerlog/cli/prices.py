"""`towerlog prices`: what models cost this organisation, where that is not what the list says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import counted, limit_option, money, number, point_in_time
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import only_one
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import CostChange, ListedPrice, Price

RATES = ("input", "cached_input", "cache_write", "output", "reasoning")
"""The rates of a table; sentences have those too that few prices have."""
RATES_OF_PARTS = ("cache_write_1h", "input_audio", "cached_audio", "output_audio")
COLUMNS = (
    Column("PRICE ID", "id", rank=3),
    Column("MODEL"),
    Column("PROVIDER", rank=1),
    Column("FROM", "time"),
    Column("INPUT", "number"),
    Column("CACHED", "number", rank=2),
    Column("WRITTEN", "number", rank=4),
    Column("OUTPUT", "number"),
    Column("REASONING", "number", rank=5),
)
LISTED = (Column("MODEL"), Column("PROVIDER", rank=1), *COLUMNS[4:])


@click.group(cls=ListGroup)
def prices() -> None:
    """Your own prices, and those that come with the server."""


@prices.command("ls")
@with_client
@limit_option
@with_view
def list_prices(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists prices, newest first, in dollars for a million tokens. Models that have none are priced by the list."""
    found = list(islice(client.list_prices(), limit))
    answer(
        as_json,
        {"data": [price.raw for price in found]},
        lambda: show_table(COLUMNS, [_row(price) for price in found], empty="No prices of your own.", view=view),
    )


@prices.command("listed")
@with_client
@click.argument("words", nargs=-1)
@limit_option
@with_view
def find_listed_prices(client: Client, words: tuple[str, ...], limit: int, view: View, as_json: bool) -> None:
    """Lists prices that come with the server, in dollars for a million tokens, of models with all these WORDS."""
    found = list(islice(client.list_listed_prices(" ".join(words) or None), limit))
    answer(
        as_json,
        {"data": [price.raw for price in found]},
        lambda: show_table(LISTED, [_listed_row(price) for price in found], empty="No model matches.", view=view),
    )


@prices.command("set")
@with_client
@click.argument("model")
@click.option("--input", "input_", required=True, type=click.FloatRange(0), help="Dollars for a million input tokens.")
@click.option("--cached-input", type=click.FloatRange(0), help="The same of input from a cache; default: as input.")
@click.option("--cache-write", type=click.FloatRange(0), help="Of input written into a cache; default: as input.")
@click.option("--output", type=click.FloatRange(0), help="Of output; without it calls with output stay unpriced.")
@click.option("--reasoning", type=click.FloatRange(0), help="Of output spent on reasoning; default: as output.")
@click.option("--cache-write-1h", type=click.FloatRange(0), help="Of input written into a cache for an hour.")
@click.option("--input-audio", type=click.FloatRange(0), help="Of audio in the input; without it that is unpriced.")
@click.option("--cached-audio", type=click.FloatRange(0), help="Of audio from a cache.")
@click.option("--output-audio", type=click.FloatRange(0), help="Of audio in the output.")
@click.option("--provider", help="Only where this provider serves the model.")
@click.option("--from", "valid_from", callback=point_in_time, help="Only for calls from this time on.")
def set_price(
    client: Client,
    model: str,
    input_: float,
    provider: str | None,
    valid_from: str | None,
    as_json: bool,
    **rates: float | None,
) -> None:
    """Creates a price for a model, or for all models whose names match a pattern with * and ?.

    It holds for what is reported from now on; `towerlog reprice` computes anew what there is. Of several prices that
    fit a call, the one counts that holds since the latest time.
    """
    given = {name: dollars for name, dollars in {"input": input_, **rates}.items() if dollars is not None}
    made = client.create_price(model, given, provider=provider, valid_from=valid_from)
    answer(as_json, dict(made.raw), lambda: say(f"Price {made.price_id} made: {_words(made)}."))


@prices.command("rm")
@with_client
@click.argument("price")
def remove_price(client: Client, price: str, as_json: bool) -> None:
    """Removes a price, given by its id or the beginning of it. What was computed with it stays."""
    ids = tuple(one.price_id for one in client.list_prices() if one.price_id.startswith(price.lower()))
    if not ids:
        raise NotFound("price", f"There is no price {price!r}; `towerlog prices ls` lists them.")
    gone = client.delete_price(only_one(price, ids, "price"))
    answer(as_json, dict(gone.raw), lambda: say(f"Price removed: {_words(gone)}."))


def _row(price: Price) -> tuple[str | None, ...]:
    rates = (_dollars(price.usd_per_million.get(name)) for name in RATES)
    return (price.price_id, price.model, price.provider, price.valid_from, *rates)


def _listed_row(price: ListedPrice) -> tuple[str | None, ...]:
    return (price.model, price.provider, *(_dollars(price.usd_per_million.get(name)) for name in RATES))


def _dollars(dollars: object) -> str | None:
    return None if not isinstance(dollars, int | float) else f"${dollars:g}"


def _words(price: Price) -> str:
    told = ((name.replace("_", " "), _dollars(price.usd_per_million.get(name))) for name in (*RATES, *RATES_OF_PARTS))
    rates = ", ".join(f"{name} {dollars}" for name, dollars in told if dollars is not None)
    return f"{visible(price.model)} at {rates} for a million tokens"


CHANGES = (
    Column("RUN ID", "id", rank=4),
    Column("AGENT", rank=1),
    Column("MODEL"),
    Column("HOUR", "time", rank=3),
    Column("CALLS", "number", rank=2),
    Column("WAS", "number"),
    Column("IS", "number"),
    Column("PRICES", rank=5),
)


@click.command()
@with_client
@click.option("--since", required=True, callback=point_in_time, help="Of calls from this hour on: a time, or an age.")
@click.option("--until", callback=point_in_time, help="Of calls up to this hour; default: all.")
@click.option("--model", help="Only of this model, or of those that fit a pattern with * and ?.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@with_view
def reprice(
    client: Client,
    since: str,
    until: str | None,
    model: str | None,
    dry_run: bool,
    yes: bool,
    view: View,
    as_json: bool,
) -> None:
    """Computes costs again, at today's prices.

    Each call is priced as of its time. Shows what would change and asks before it writes that. Costs that were told
    stay as they are, and so does what has no price today. What was computed before stays in the log.
    """
    found = list(_changes(client, since, dry_run=True, until=until, model=model))
    difference = sum(change.difference_usd for change in found)
    if not as_json:
        show_table(CHANGES, [_change_row(change) for change in found], empty="Nothing changes.", view=view)
        if found:
            say(f"{counted(len(found), 'change')}, in all {_signed(difference)}.")
    writes = bool(found) and not dry_run and (yes or click.confirm("Write that?", err=True))
    written = list(_changes(client, since, dry_run=False, until=until, model=model)) if writes else []
    answer(
        as_json,
        {"data": [change.raw for change in found], "difference_usd": round(difference, 9), "written": len(written)},
        lambda: say(f"{counted(len(written), 'change')} written.") if writes else None,
    )


def _changes(
    client: Client, since: str, *, dry_run: bool, until: str | None, model: str | None
) -> Iterator[CostChange]:
    cursor: str | None = None
    while True:
        page = client.reprice(since, dry_run=dry_run, until=until, model=model, cursor=cursor)
        yield from page.data
        cursor = page.next
        if cursor is None:
            return


def _change_row(change: CostChange) -> tuple[str | None, ...]:
    was = money(change.old_usd) if change.priced_calls < change.calls else "unpriced"
    what = (change.run_id, change.agent, change.model, change.hour, number(change.calls))
    return (*what, was, money(change.new_usd), change.price_version)


def _signed(dollars: float) -> str:
    return f"{'-' if dollars < 0 else '+'}{money(abs(dollars))}"
