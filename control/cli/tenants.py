"""`sluice tenants`: the reference data that events are enriched with."""

from dataclasses import asdict

import click
from rich.markup import escape

from control.cli.output import json_option, print_json, print_table
from control.errors import MisuseError, SluiceError
from control.events.render import printable
from control.settings import Settings
from control.tenants import Tenant, made_up_tenants, read_tenants, write_tenants


@click.group()
def tenants() -> None:
    """Read and change what is known of tenants; running jobs use it at once."""


@tenants.command("list")
@json_option
@click.pass_obj
def list_tenants(settings: Settings, *, as_json: bool) -> None:
    """List all tenants."""
    found = read_tenants(settings).values()
    if as_json:
        print_json([asdict(tenant) for tenant in found])
    elif not found:
        click.echo("No tenant is known. `sluice tenants seed` makes those of made-up events known.")
    else:
        print_table(
            ("tenant", "name", "tier", "region"),
            [[_cell(value) for value in asdict(tenant).values()] for tenant in found],
        )


@tenants.command("set")
@click.argument("tenant_id")
@click.option("--name", help="What the tenant is called.")
@click.option("--tier", help="free, team, enterprise, ...")
@click.option("--region", help="Where its data lives.")
@json_option
@click.pass_obj
def set_tenant(
    settings: Settings, tenant_id: str, *, name: str | None, tier: str | None,
    region: str | None, as_json: bool,
) -> None:
    """Make a tenant known, or change what is given; an empty text takes it away."""
    if not tenant_id.strip():
        message = "A tenant's id is not empty."
        raise MisuseError(message, "For example: sluice tenants set tenant-0001 --tier team")
    before = read_tenants(settings).get(tenant_id)
    known = before or Tenant(tenant_id)
    tenant = Tenant(
        tenant_id, _given(name, known.name), _given(tier, known.tier), _given(region, known.region)
    )
    if tenant != before:
        write_tenants(settings, [tenant])
    if as_json:
        print_json(asdict(tenant))
    else:
        done = "is new" if before is None else "is as before" if tenant == before else "is changed"
        click.echo(f"{printable(tenant_id)} {done}: {_words(tenant)}.")


@tenants.command("remove")
@click.argument("tenant_id")
@json_option
@click.pass_obj
def remove_tenant(settings: Settings, tenant_id: str, *, as_json: bool) -> None:
    """Forget a tenant: its events pass on without a name, a tier and a region."""
    tenant = read_tenants(settings).get(tenant_id)
    if tenant is None:
        message = f"No tenant {printable(tenant_id)} is known."
        raise SluiceError(message, "`sluice tenants list` lists them.")
    write_tenants(settings, [tenant], deleted=True)
    if as_json:
        print_json(asdict(tenant))
    else:
        click.echo(f"{printable(tenant_id)} is forgotten.")


@tenants.command("seed")
@click.option("--count", type=click.IntRange(1, 100_000), default=50, show_default=True,
              help="How many, as in `sluice events produce --tenants`.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same names.")
@json_option
@click.pass_obj
def seed_tenants(settings: Settings, *, count: int, seed: int, as_json: bool) -> None:
    """Make the tenants of made-up events known, tenant-0001 and so on."""
    written = write_tenants(settings, made_up_tenants(count, seed))
    if as_json:
        print_json({"count": written, "seed": seed})
    else:
        click.echo(f"{written:,} tenants are known.")


def _given(value: str | None, before: str | None) -> str | None:
    return before if value is None else value or None


def _words(tenant: Tenant) -> str:
    known = {key: value for key, value in asdict(tenant).items() if key != "tenant_id" and value}
    return printable(", ".join(f"{key} {value}" for key, value in known.items())) or "nothing known"


def _cell(value: str | None) -> str:
    return escape(printable(value or ""))
