"""What a store had refused is written into it again, once its cause is gone."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.dlq_letters import Written, states, write_letters
from tests.kit.databases import execute
from tests.kit.sinks import Clean, CleanMaker, await_documents, await_rows, documents, rows
from tests.kit.stack import TestStack
from udfs.reasons import Reason, Stage

REFUSING = "ALTER TABLE public.events ADD CONSTRAINT test_replay CHECK (source <> 'not yet')"
# Of this file alone: the same seed makes the same events.
SEEDS = (901, 902, 903)
WILLING = "ALTER TABLE public.events DROP CONSTRAINT IF EXISTS test_replay"


@pytest.fixture(scope="module")
def maker(stack: TestStack) -> Iterator[CleanMaker]:
    """Yield a maker of records that no topic holds: their rows and documents go again."""
    stack.ok("db", "migrate")
    maker = CleanMaker(stack)
    yield maker
    ids = [record.id for seed in SEEDS for record in maker.make(3, seed)]
    execute(stack, "DELETE FROM public.events WHERE event_id = ANY(%s::uuid[])", ids)
    url = stack.settings().elasticsearch_url.get_secret_value()
    for name, document in documents(stack, ids).items():
        httpx.delete(
            f"{url}/{document['_index']}/_doc/{name}", timeout=30
        ).raise_for_status()
    assert not documents(stack, ids)


def refused(record: Clean, stage: Stage, mark: str) -> Written:
    return Written(record.value, Reason.REFUSED, stage, mark, detail="a test's own")


def test_what_the_table_refuses_again_stays_open(
    stack: TestStack, maker: CleanMaker, mark: str
) -> None:
    sound, mended, hopeless = maker.make(3, SEEDS[0])
    mended = maker.changed(mended, source="not yet")
    hopeless = maker.changed(hopeless, text="a zero \0 byte")
    write_letters(stack.settings(), [
        refused(record, Stage.TIMESCALE, mark) for record in (sound, mended, hopeless)
    ])
    replay = ("dlq", "replay", "--tenant", mark, "--yes")
    execute(stack, REFUSING)
    try:
        first = stack.run(*replay)
    finally:
        execute(stack, WILLING)
    assert first.returncode == 1
    assert "1 of 3 letters were sent" in first.stdout
    assert "Refused again by their store: 2; they stay open." in first.stdout
    assert set(rows(stack, [one.id for one in (sound, mended, hopeless)])) == {sound.id}
    second = json.loads(stack.run(*replay, "--json").stdout)
    assert (second["planned"], second["sent"], second["refused"]) == (2, 1, 1)
    await_rows(stack, [sound, mended])
    assert states(stack, mark) == {"replayed": 2, "open": 1}


def test_documents_go_to_their_index(stack: TestStack, maker: CleanMaker, mark: str) -> None:
    sound, hopeless = maker.make(3, SEEDS[1])[:2]
    hopeless = maker.changed(hopeless, attributes={"long": "x" * 40_000})
    sent, kept = write_letters(stack.settings(), [
        refused(record, Stage.SEARCH, mark) for record in (sound, hopeless)
    ])
    assert stack.run("dlq", "replay", sent, kept, "--yes").returncode == 1
    await_documents(stack, [sound])
    assert not documents(stack, [hopeless.id])
    assert "replayed as attempt 2" in stack.ok("dlq", "show", sent)
    # A letter that somebody gives up on is written by no later replay.
    stack.ok("dlq", "discard", kept, "--note", "too long", "--yes")
    assert json.loads(stack.ok("dlq", "replay", "--tenant", mark, "--yes", "--json"))["sent"] == 0
    assert not rows(stack, [sound.id])


def test_a_store_that_is_away_leaves_its_letters_open(
    stack: TestStack, maker: CleanMaker, mark: str
) -> None:
    (record,) = maker.make(3, SEEDS[2])[:1]
    write_letters(stack.settings(), [refused(record, Stage.SEARCH, mark)])
    failed = stack.run(
        "dlq", "replay", "--tenant", mark, "--yes",
        SLUICE_ELASTICSEARCH_URL="http://127.0.0.1:9", SLUICE_SINK_STALL_MINUTES="0.01",
    )
    assert failed.returncode == 1
    assert "Elasticsearch cannot be written to" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert states(stack, mark) == {"open": 1}
    stack.ok("dlq", "replay", "--tenant", mark, "--yes")
    await_documents(stack, [record])
