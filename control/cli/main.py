"""The `sluice` command: reads settings, hands over, and speaks to the person."""

import sys
from importlib import metadata

import click
from rich.console import Console
from rich.text import Text

from control.cli.lazy import LazyGroup, Place
from control.errors import ExitCode, SluiceError
from control.logs import configure_logging
from control.settings import ADDRESSES, PREFIX, Settings, load_settings

COMMANDS = {
    "cancel": Place("control.cli.end", "End a job at once, without a savepoint."),
    "control": Place("control.cli.control", "Keep the jobs as they are wanted."),
    "db": Place("control.cli.db", "Migrate and maintain TimescaleDB or PostgreSQL."),
    "demo": Place("control.cli.demo", "Start everything, send events, show what came out."),
    "deploy": Place("control.cli.change", "Start a job and wait until all of it runs."),
    "dlq": Place("control.cli.dlq", "List, show, replay and discard dead letters."),
    "doctor": Place("control.cli.doctor", "Check the machine and every server."),
    "events": Place("control.cli.events", "Make events, send them, and read them again."),
    "history": Place("control.cli.history", "Show who did what to a job, and how it ended."),
    "jobs": Place("control.cli.jobs", "Show the jobs of the product."),
    "reconcile": Place("control.cli.reconcile", "Prove that the stores hold what is committed."),
    "render": Place("control.cli.render", "Write what other systems need to run the jobs."),
    "replay": Place("control.cli.replay", "Run a job over a span of history, beside the live one."),
    "resume": Place("control.cli.end", "Finish or undo what was killed in the middle."),
    "rollback": Place("control.cli.change", "Go back to an earlier version of a job."),
    "savepoint": Place("control.cli.savepoint", "Take, list, verify and delete savepoints."),
    "scale": Place("control.cli.change", "Change the parallelism of a job."),
    "schema": Place("control.cli.schema", "Check, register and show the schemas of events."),
    "search": Place("control.cli.search", "Look after the indices in Elasticsearch."),
    "stack": Place("control.cli.stack", "Run all servers on this machine."),
    "status": Place("control.cli.status", "Show how the jobs are."),
    "stop": Place("control.cli.end", "Stop a job with a savepoint."),
    "tenants": Place("control.cli.tenants", "Read and change what is known of tenants."),
    "upgrade": Place("control.cli.change", "Put a new version in the place of what runs."),
}

# Interrupted, they leave servers behind.
_STARTS_SERVERS = frozenset({"demo", "stack"})


def _settings_help() -> str:
    lines = []
    for name, field in Settings.model_fields.items():
        if name == "explicit":
            continue
        mark = " *" if name in ADDRESSES else ""
        lines.append(f"  {PREFIX}{name.upper():20} {field.description or ''}{mark}")
    return "\n".join(
        ["\b", "Settings (environment, or a TOML file named by SLUICE_PROFILE):", *lines,
         "  * setting it makes the local stack use that server"]
    )


@click.group(
    cls=LazyGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_settings_help(),
)
@click.version_option(metadata.version("sluice"), prog_name="sluice")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Deploy, watch and upgrade the jobs that move events from Kafka into the stores."""
    context.obj = settings = load_settings()
    configure_logging("debug" if debug else settings.log_level, settings.log_format)


def _why_it_ended(error: BaseException, arguments: list[str]) -> str:
    """Say what became of a command that a person ended, and what it may have left."""
    if isinstance(error, click.Abort) and error.__cause__ is None:
        # A question was answered with no; whatever asks does so before it begins.
        return "Nothing was changed."
    if next((word for word in arguments if not word.startswith("-")), "") in _STARTS_SERVERS:
        return ("Interrupted.\n`sluice stack status` shows what runs, `sluice stack down` stops"
                " it.")
    return "Interrupted."


def main() -> None:
    """Run the command and turn what went wrong into a message and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:  # noqa: PLR0911 - one for each way to end
    """Run the command with these arguments; return its exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = cli.main(arguments, prog_name="sluice", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.MISUSED
    except (click.Abort, KeyboardInterrupt) as error:
        console.print(f"\n{_why_it_ended(error, arguments)}")
        return ExitCode.FAILED
    except SluiceError as error:
        if "--debug" in arguments:
            raise
        console.print(Text.assemble(("Error:", "bold red"), " ", error.message))
        if error.hint:
            console.print(Text.assemble(("Do:", "bold"), " ", error.hint))
        return error.exit_code
    except BrokenPipeError:
        # `sluice ... | head`: the reader has seen enough.
        sys.stderr.close()
        return ExitCode.DONE
    except OSError as error:
        # A full disk, a folder that lost its permissions: anywhere, at any time.
        if "--debug" in arguments:
            raise
        where = f": {error.filename}" if error.filename else ""
        reason = error.strerror or error
        console.print(Text.assemble(("Error:", "bold red"), f" {reason}{where}"))
        console.print(Text.assemble(("Do:", "bold"), " `sluice doctor` checks disk and folders."))
        return ExitCode.FAILED
