"""`sluice schema`: the contract of events, in git and in the registry."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from control.cli.output import json_option, print_json, print_table
from control.errors import ExitCode, MisuseError, SluiceError
from control.registry import COMPATIBILITY, RegistryAwayError, RegistryClient
from control.schema.check import check_files, check_registered
from control.schema.files import Family, Version, choose, read_families
from control.schema.findings import Finding
from control.schema.model import NotAvroError
from control.schema.registration import (
    Registration,
    Standing,
    as_version,
    look,
    look_at_others,
    plan,
    weak_rule,
)
from control.schema.registration import register as register_missing
from control.schema.words import history, rows
from control.settings import Settings

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path),
    help="Another folder of schemas than SLUICE_SCHEMAS.",
)


@click.group()
def schema() -> None:
    """Check the schemas of events by the rules of evolution, register and show them."""


@schema.command("list")
@folder_option
@json_option
@click.pass_obj
def list_schemas(settings: Settings, folder: Path | None, as_json: bool) -> None:
    """Compare the schemas in git with the registry's."""
    families = read_families(folder or settings.schemas)
    standings: list[Standing] | None
    try:
        with RegistryClient(settings.registry_url) as registry:
            standings = [*look(registry, families), *look_at_others(registry, families)]
    except RegistryAwayError as error:
        click.echo(f"{error.message} What is registered is not known.", err=True)
        standings = None
    found = [
        _listed(standing, known=standings is not None)
        for standing in standings or [Standing(f.subject, f, ()) for f in families]
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ("subject", "domain", "kind", "in git", "registered", "newest id", "state"),
        [(entry["subject"], entry["domain"] or "", entry["kind"] or "",
          _span(entry["versions"]), _span(entry["registered"]),
          str(entry["newest_id"] or ""), _coloured(entry["state"])) for entry in found],
    )


def _listed(standing: Standing, *, known: bool) -> dict[str, Any]:
    family = standing.family
    return {
        "subject": standing.subject,
        "domain": family.domain if family else None,
        "kind": None if family is None else "event" if family.is_event else "internal",
        "versions": [version.number for version in family.versions] if family else [],
        "registered": [entry.version for entry in standing.registered] if known else None,
        "newest_id": standing.registered[-1].id if standing.registered else None,
        "state": standing.state.value if known else None,
    }


def _span(numbers: Sequence[int] | None) -> str:
    if numbers is None:
        return "?"
    if len(numbers) > 1 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"v{numbers[0]}-v{numbers[-1]}"
    return ", ".join(f"v{number}" for number in numbers)


def _coloured(state: str | None) -> str:
    colour = {"in step": "green", "differs": "red", None: "dim"}.get(state, "yellow")
    return f"[{colour}]{state or 'unknown'}[/]"


@schema.command()
@click.argument("domain", required=False)
@click.option("--offline", is_flag=True, help="From the files alone.")
@click.option("--registry", "demanded", is_flag=True, help="Fail if the registry is away.")
@folder_option
@json_option
@click.pass_obj
def check(
    settings: Settings, domain: str | None, offline: bool, demanded: bool, folder: Path | None,
    as_json: bool,
) -> int:
    """Check all schemas, or a domain's, by the rules of evolution; exit code 3 when refused.

    Each version is compared with all before it, in git and in the registry, and samples written
    with the older one are read with the newer. Without a registry the files alone are checked.
    """
    if offline and demanded:
        message = "--offline and --registry say the opposite."
        raise MisuseError(message, "Give one of them.")
    everything = read_families(folder or settings.schemas)
    families = choose(everything, domain)
    findings = check_files(families, everything)
    notes = []
    asked = False
    if not offline:
        try:
            with RegistryClient(settings.registry_url) as registry:
                standings = look(registry, families)
                findings += check_registered(registry, standings)
                notes = _weak_rules(registry, standings)
            asked = True
        except RegistryAwayError as error:
            if demanded:
                raise
            notes = [f"{error.message} Only the files were checked."]
    if as_json:
        print_json({
            "schemas": {family.subject: len(family.versions) for family in families},
            "registry": asked, "notes": notes, "findings": list(map(asdict, findings)),
        })
    else:
        _print_findings(findings)
        for note in notes:
            click.echo(note, err=True)
        _print_sum(families, findings, asked=asked)
    return ExitCode.REFUSED if findings else ExitCode.DONE


def _weak_rules(registry: RegistryClient, standings: Iterable[Standing]) -> list[str]:
    weak = {standing.subject: rule for standing in standings
            if standing.registered and (rule := weak_rule(registry, standing.subject))}
    return [
        f"The registry holds {subject} to {rule} only, not to {COMPATIBILITY}: `sluice schema"
        " register` sets that." for subject, rule in weak.items()
    ]


def _print_findings(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    # What is wrong against several versions is said once.
    against: dict[Finding, list[str]] = {}
    for finding in findings:
        against.setdefault(replace(finding, against=""), []).append(finding.against)
    for finding, versions in against.items():
        others = " and ".join(filter(None, versions))
        where = " ".join(filter(None, (
            finding.domain, finding.version, others and f"against {others}",
        )))
        field = f" {finding.path}:" if finding.path else ""
        console.print(f"[bold red]{escape(where)}[/]:{escape(field)} {escape(finding.message)}"
                      f" [dim]({finding.rule})[/]")
        console.print(f"  Do: {escape(finding.remedy)}.")


def _print_sum(families: Sequence[Family], findings: Sequence[Finding], *, asked: bool) -> None:
    count = sum(len(family.versions) for family in families)
    against = "each other and the registry" if asked else "each other"
    click.echo(
        f"{_count(count, 'version')} of {_count(len(families), 'schema')} checked against"
        f" {against}: " + (f"{_count(len(findings), 'finding')}." if findings else "all is well.")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@schema.command()
@click.argument("domain", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be registered.")
@folder_option
@json_option
@click.pass_obj
def register(
    settings: Settings, domain: str | None, dry_run: bool, folder: Path | None, as_json: bool
) -> int:
    """Check, then register the versions that the registry lacks; repeating changes nothing."""
    everything = read_families(folder or settings.schemas)
    families = choose(everything, domain)
    findings = check_files(families, everything)
    done: list[Registration] = []
    with RegistryClient(settings.registry_url) as registry:
        standings = look(registry, families)
        findings += check_registered(registry, standings)
        if not findings:
            report = _say_nothing if as_json else _say_registered
            done = plan(standings) if dry_run else register_missing(registry, standings, report)
    if as_json:
        print_json({"dry_run": dry_run, "registered": list(map(asdict, done)),
                    "findings": list(map(asdict, findings))})
    elif findings:
        _print_findings(findings)
        click.echo(f"Nothing was registered: {_count(len(findings), 'finding')}.")
    else:
        for entry in done if dry_run else []:
            click.echo(f"  {entry.subject} v{entry.version} would be registered")
        total = f"{_count(len(done), 'version')} {'to register' if dry_run else 'registered'}"
        click.echo(f"{total}." if done else "Nothing to register: the registry is in step.")
    return ExitCode.REFUSED if findings else ExitCode.DONE


def _say_registered(entry: Registration) -> None:
    click.echo(f"  {entry.subject} v{entry.version} registered, id {entry.id}")


def _say_nothing(_: Registration) -> None:
    pass


@schema.command()
@click.argument("name", metavar="DOMAIN|SUBJECT")
@click.option("--version", "number", type=click.IntRange(min=1), help="Not the newest version.")
@click.option("--history", "only_history", is_flag=True, help="Only what each version changed.")
@folder_option
@json_option
@click.pass_obj
def show(
    settings: Settings, name: str, number: int | None, only_history: bool, folder: Path | None,
    as_json: bool,
) -> None:
    """Show a schema's fields and what each version changed; from the registry if not in git."""
    subject, versions = _versions_of(settings, folder or settings.schemas, name, number)
    shown = versions[-1]
    try:
        fields, told = rows(versions), history(versions)
    except NotAvroError as error:
        message = f"{subject} cannot be shown: {error.path or 'the record'}: {error.message}."
        raise SluiceError(message, f"{error.remedy}; `sluice schema check` says more.") from error
    if as_json:
        changed = [{"version": label, "changes": text} for label, text in told]
        print_json({"subject": subject, "version": shown.number, "history": changed} if only_history
                   else {"subject": subject, "version": shown.number,
                         "fields": list(map(asdict, fields)), "history": changed,
                         "schema": shown.schema})
        return
    if not only_history:
        click.echo(f"{subject} {shown.label}: {shown.schema.get('doc', '')}".rstrip(" :") + "\n")
        print_table(
            ("field", "type", "default", "since", "doc"),
            [tuple(map(escape, (row.name, row.type, row.default, row.since, row.doc)))
             for row in fields],
        )
        click.echo()
    for label, text in told:
        click.echo(f"{label}: {text}")


def _versions_of(
    settings: Settings, folder: Path, name: str, number: int | None
) -> tuple[str, list[Version]]:
    """Return a schema's versions up to the one that is asked for."""
    families = read_families(folder)
    family = next((entry for entry in families if name in {entry.domain, entry.subject}), None)
    subject = family.subject if family else name
    versions = list(family.versions) if family else []
    where = "neither in git nor in the registry"
    if not versions or (number and number not in {version.number for version in versions}):
        # Somebody may have registered it from elsewhere.
        try:
            with RegistryClient(settings.registry_url) as registry:
                versions = [as_version(registry.version(subject, found))
                            for found in registry.versions(subject)]
        except RegistryAwayError:
            where, versions = "not in git, and the registry does not answer", []
    upto = [version for version in versions if number is None or version.number <= number]
    if not upto or (number and upto[-1].number != number):
        what = f"version {number} of {subject}" if family or versions else f"schema {name!r}"
        message = f"There is no {what}: {where}."
        raise MisuseError(message, f"Choose from {', '.join(f.domain for f in families)}"
                          " (`sluice schema list`).")
    return subject, upto
