"""`sluice search`: the indices of events."""

import click

from control.cli.output import json_option, print_json, print_table
from control.search import put_template, wanted_template
from control.search_indices import Index, drop_expired, list_indices
from control.settings import Settings


@click.group()
def search() -> None:
    """Look after the daily indices in Elasticsearch."""


@search.command("list")
@json_option
@click.pass_obj
def list_days(settings: Settings, as_json: bool) -> None:
    """List the daily indices, the newest first."""
    indices = list_indices(settings.elasticsearch_url, settings.search_keep_days)
    if as_json:
        print_json([vars(index) for index in indices])
        return
    print_table(("index", "documents", "MB", "state"), [
        (index.name, f"{index.documents:,}", f"{index.size / 1e6:,.1f}",
         "expired" if index.expired else "kept") for index in indices
    ])


@search.command()
@json_option
@click.pass_obj
def maintain(settings: Settings, as_json: bool) -> None:
    """Put the template in place, and drop the indices that are no longer kept."""
    put_template(settings.elasticsearch_url)

    def report(index: Index) -> None:
        if not as_json:
            click.echo(f"  {index.name} dropped: {index.documents:,} documents")

    dropped = drop_expired(settings.elasticsearch_url, settings.search_keep_days, report)
    if as_json:
        print_json([vars(index) for index in dropped])
        return
    click.echo(
        f"Template version {wanted_template()['version']} is in place."
        f" {len(dropped) or 'No'} {'index' if len(dropped) == 1 else 'indices'} older than"
        f" {settings.search_keep_days} days dropped."
    )
