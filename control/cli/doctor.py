"""`sluice doctor`: whether everything is there, and what mends what is not."""

import click
from rich.console import Console

from control.cli.output import json_option, print_json, print_table
from control.doctor.finding import Finding, Verdict
from control.doctor.machine import check_machine
from control.doctor.servers import check_servers
from control.errors import ExitCode
from control.settings import Settings
from control.stack.context import open_stack

_STYLES = {
    Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red",
    Verdict.SKIPPED: "dim",
}


@click.command()
@json_option
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> int:
    """Check the machine and every server; exit code 1 when something is broken."""
    stack = open_stack(settings)
    findings = [*check_machine(stack), *check_servers(stack, settings)]
    if as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        _print(findings)
    broken = any(finding.verdict is Verdict.FAILED for finding in findings)
    return ExitCode.FAILED if broken else ExitCode.DONE


def _print(findings: list[Finding]) -> None:
    print_table(
        ("check", "verdict", "what was found"),
        [(finding.check, f"[{_STYLES[finding.verdict]}]{finding.verdict.value}[/]", finding.detail)
         for finding in findings],
    )
    console = Console(soft_wrap=True, highlight=False, markup=False)
    todo = [finding for finding in findings if finding.remedy]
    if todo:
        console.print("\nWhat to do:")
        for finding in todo:
            console.print(f"  {finding.check}: {finding.remedy}")
    else:
        console.print("\nAll is well.")
