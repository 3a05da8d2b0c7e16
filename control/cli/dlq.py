"""`sluice dlq`: messages that could not go on."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from control.cli.dlq_options import Chosen, chosen_options, wish_from, wish_options
from control.cli.dlq_output import (
    print_left_out,
    print_outcome,
    print_plan,
    replay_json,
)
from control.cli.numbers import POSITIVE
from control.cli.output import Say, json_option, print_json, print_table, progress_line
from control.dlq.desk import Desk, open_desk
from control.dlq.letter import Letter, State, parse_id
from control.dlq.listing import COLUMNS, rows, summary_rows
from control.dlq.page import as_json_object, as_text, gather, letter_json
from control.dlq.plan import Plan, plan_by_name, plan_by_wish, with_states
from control.dlq.sender import LARGEST
from control.dlq.settle import Settled
from control.dlq.verdict import DiscardRules, ReplayRules, Rules
from control.dlq.wish import Wish
from control.errors import ExitCode, MisuseError, RefusedError
from control.events.interruption import interruption
from control.settings import Settings

_SHOWN = 50


@click.group()
def dlq() -> None:
    """List, show, replay and discard dead letters: messages that a job could not take.

    A letter's name is partition:offset in events.dlq, as in 2:118.
    """


@dlq.command("list")
@wish_options
@click.option("--summary", is_flag=True, help="Count by reason and state instead.")
@json_option
@click.pass_obj
def list_letters(settings: Settings, /, *, summary: bool, as_json: bool, **options: Any) -> None:
    """List letters, the newest first; open ones unless --state says otherwise.

    A summary counts all states unless --state says otherwise.
    """
    wish = wish_from(options, State.OPEN if not summary else None, datetime.now(UTC))
    if summary and wish.limit is not None:
        message = "--summary counts all letters: it takes no --limit."
        raise MisuseError(message, "--since bounds it.")
    with open_desk(settings) as desk:
        if summary:
            _print_summary(desk, wish, as_json=as_json)
        else:
            _print_list(desk, wish, as_json=as_json)
        if not as_json:
            _print_notes(desk)


def _print_list(desk: Desk, wish: Wish, *, as_json: bool) -> None:
    limit = wish.limit or _SHOWN
    with progress_line(quiet=as_json) as say:
        letters = _counted(desk.letters.newest_first(wish), desk, say)
        # One more than is shown tells whether there are more.
        found = list(islice(with_states(letters, desk.book, wish), limit + 1))
    shown = found[:limit]
    if as_json:
        print_json([letter_json(letter, state) for letter, state in shown])
        return
    if shown:
        print_table(COLUMNS, [[escape(cell) for cell in row] for row in rows(shown)])
    else:
        what = "letters" if wish.state is None else f"{wish.state} letters"
        click.echo(f"No {what} of this kind among {desk.letters.seen:,}.")
    if len(found) > limit:
        click.echo(f"The newest {limit:,}; there are more: --limit shows them.")


def _print_summary(desk: Desk, wish: Wish, *, as_json: bool) -> None:
    with progress_line(quiet=as_json) as say:
        letters = _counted(desk.letters.in_any_order(wish), desk, say)
        counts = Counter(
            (letter.reason, state) for letter, state in with_states(letters, desk.book, wish)
        )
    if as_json:
        print_json([{"reason": reason, "state": state.value, "count": count}
                    for (reason, state), count in counts.most_common()])
        return
    columns, table = summary_rows(counts)
    print_table(columns, [[escape(cell) for cell in row] for row in table])


def _counted(letters: Iterable[Letter], desk: Desk, say: Say) -> Iterator[Letter]:
    for letter in letters:
        say(f"{desk.letters.seen:,} letters looked at")
        yield letter


def _print_notes(desk: Desk) -> None:
    if desk.letters.foreign:
        click.echo(f"{desk.letters.foreign:,} messages in events.dlq are no letters.", err=True)
    unfinished = sum(len(batch.letters) for batch in desk.book.unfinished())
    if unfinished:
        click.echo(
            f"{unfinished:,} letters are in a replay that runs or was cut off: --state unknown"
            " lists them, the next replay or discard settles them.", err=True,
        )


@dlq.command("show")
@click.argument("letter")
@click.option("--raw", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the original bytes to this file.")
@json_option
@click.pass_obj
def show_letter(settings: Settings, letter: str, *, raw: Path | None, as_json: bool) -> None:
    """Show everything about LETTER: why, what is in it, what was done, and what would mend it."""
    wanted = parse_id(letter)
    with open_desk(settings) as desk:
        page = gather(wanted, desk.letters, desk.book, desk.decoding)
    if raw is not None:
        raw.write_bytes(page.payload)
    if as_json:
        print_json(as_json_object(page))
        return
    click.echo(as_text(page))
    if raw is not None:
        click.echo(f"{len(page.payload):,} bytes are in {raw}.")


@dlq.command("replay")
@chosen_options
@click.option("--force", is_flag=True,
              help="Also those tried three times, discarded, or of an unknown fate.")
@click.option("--rate", type=POSITIVE, help="Letters a second at most.  [default: no limit]")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def replay_letters(
    settings: Settings, /, *, force: bool, rate: float | None, dry_run: bool, yes: bool,
    as_json: bool, **options: Any,
) -> int:
    """Send the original bytes of LETTERs, or of those that filters choose, through again.

    What ingest refused goes through ingest; what a store refused is written into that store.

    Nothing is sent twice: a run that was interrupted or killed can be run again. Letters that were
    named are sent all or none; among those that filters choose, the ones that may not be sent are
    left out and counted. With filters, open letters are meant unless --state says otherwise.
    """
    chosen = Chosen.of(options, datetime.now(UTC))
    rules = ReplayRules(force, min(settings.ingest_max_bytes, LARGEST))
    _check_answers(as_json=as_json, yes=yes or dry_run)
    with open_desk(settings) as desk:
        with progress_line(quiet=as_json) as say:
            settled = Settled() if dry_run else _settle(desk, say)
            plan = _plan(desk, chosen, rules, say)
        _refuse_named(plan, as_json=as_json)
        ask = plan.count > 0 and not dry_run
        if not as_json and not (ask and yes):
            print_plan(plan, "sent", dry_run=dry_run)
        outcome = None
        if ask and _agreed(yes=yes):
            with progress_line(quiet=as_json) as say, interruption() as wish:
                outcome = desk.replay(plan, rules, rate, wish, lambda now: say(
                    f"{now.sent:,} of {plan.count:,} letters sent"
                ))
    if as_json:
        print_json(replay_json(plan, settled, outcome, dry_run=dry_run))
    elif outcome is not None:
        print_outcome(outcome, plan)
    elif ask:
        click.echo("Nothing was sent.")
    done = not ask or (outcome is not None and not outcome.interrupted and not outcome.refused)
    return ExitCode.DONE if done else ExitCode.FAILED


def _settle(desk: Desk, say: Say) -> Settled:
    settled = desk.settle(lambda seen: say(f"a replay was cut off: {seen:,} messages looked at"))
    if settled.count:
        lost = f", of {settled.lost:,} it can no longer be told" if settled.lost else ""
        click.echo(
            f"A replay was cut off: {settled.replayed:,} letters of its last batch were sent,"
            f" {settled.reopened:,} were not{lost}.", err=True,
        )
    return settled


def _plan(desk: Desk, chosen: Chosen, rules: Rules, say: Say) -> Plan:
    say("looking at letters")
    if chosen.wish is not None:
        return plan_by_wish(desk.letters, desk.book, chosen.wish, rules)
    return plan_by_name(desk.letters, desk.book, chosen.ids, rules)


def _refuse_named(plan: Plan, *, as_json: bool) -> None:
    refused = [verdict for verdict in plan.named.values() if verdict.is_refusal]
    if not refused:
        return
    if as_json:
        print_json([{"letter": str(one), "verdict": verdict.value}
                    for one, verdict in plan.named.items()])
    else:
        print_table(("letter", "verdict"), [
            (str(one), verdict.description if verdict.is_refusal else "could be done")
            for one, verdict in plan.named.items()
        ])
    message = f"{len(refused):,} of {len(plan.named):,} letters are refused: nothing was done."
    raise RefusedError(message, "Leave them out, or see `--help` for what --force allows.")


def _agreed(*, yes: bool) -> bool:
    try:
        return yes or click.confirm("Go on?")
    except click.Abort:
        click.echo()
        return False


@dlq.command("discard")
@chosen_options
@click.option("--note", required=True, help="Why they need nothing; it is shown with them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def discard_letters(
    settings: Settings, /, *, note: str, yes: bool, as_json: bool, **options: Any
) -> int:
    """Mark LETTERs, or those that filters choose, as needing nothing.

    Nothing is deleted: the letters stay in events.dlq until their retention ends. They are no
    longer listed as open, and only --force replays them.
    """
    if not note.strip():
        message = "--note is empty."
        raise MisuseError(message, "Say why the letters need nothing.")
    chosen = Chosen.of(options, datetime.now(UTC))
    rules = DiscardRules()
    _check_answers(as_json=as_json, yes=yes)
    done, operation = 0, None
    with open_desk(settings) as desk:
        with progress_line(quiet=as_json) as say:
            _settle(desk, say)
            plan = _plan(desk, chosen, rules, say)
        _refuse_named(plan, as_json=as_json)
        if plan.count and not yes:
            print_plan(plan, "discarded")
        agreed = plan.count == 0 or _agreed(yes=yes)
        if plan.count and agreed:
            with progress_line(quiet=as_json) as say:
                operation, done = desk.discard(
                    plan, rules, note,
                    lambda count: say(f"{count:,} of {plan.count:,} letters discarded"),
                )
    if as_json:
        print_json({
            "operation": operation, "discarded": done,
            "left_out": {verdict.value: count for verdict, count in plan.left_out.items()},
        })
    else:
        click.echo(f"{done:,} letters are discarded." if agreed else "Nothing was discarded.")
        print_left_out(plan)
    return ExitCode.DONE if agreed else ExitCode.FAILED


def _check_answers(*, as_json: bool, yes: bool) -> None:
    if as_json and not yes:
        message = "--json asks nothing."
        raise MisuseError(message, "Add --yes.")
