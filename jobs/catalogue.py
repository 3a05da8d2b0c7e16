"""The jobs of the product."""

import json
import sys

from jobs.spec import TRANSACTIONS, Health, JobSpec, Output, OutputKind, StatePart
from udfs.reasons import Stage

_OFFSETS = "kafka-offsets/1"
_TRANSACTIONS = f"{TRANSACTIONS}/1"
_SEEN = "sql-first-row/1"


def _letters(*stages: Stage) -> Output:
    """Return the dead letters of a job's own stages."""
    return Output(
        "events.dlq", harmless=False,
        again="a letter may be written twice; `sluice dlq` shows both",
        identity=("stage", "source_topic", "source_time", "payload"), of_the_run=("failed_at",),
        time="source_time", whose="stage", own=tuple(stage.value for stage in stages),
    )


# Flink SQL names its operators by their place in the plan: another step in front of one moves its
# state away, which the preflight of an upgrade notices.
_SINK_STATE = (
    StatePart("events-clean", _OFFSETS, "how far events.clean is read"),
    StatePart("8_deduplicate", _SEEN, "which letters were written"),
    StatePart("10_sink", _TRANSACTIONS, "open transactions of events.dlq"),
)

JOBS = (
    JobSpec(
        name="ingest",
        purpose="validates, enriches and deduplicates what producers send",
        module="jobs.ingest",
        inputs=("events.raw", "reference.tenants"),
        writes=(
            Output(
                "events.clean", harmless=False,
                again="an event may be written twice, with the same id: timescale and search take"
                      " the second for the first, readers of committed events count it twice",
                identity=("event_id",), of_the_run=("cleaned_at",), time="received_at",
            ),
            _letters(Stage.INGEST, Stage.REFERENCE),
        ),
        mode="thread",
        state=(
            StatePart("events-raw", _OFFSETS, "how far events.raw is read"),
            StatePart("reference-tenants", _OFFSETS, "how far reference.tenants is read"),
            StatePart("clean", "tenants-json/1", "what is known of tenants"),
            StatePart("6_deduplicate", _SEEN, "which event ids were seen"),
            StatePart("8_sink", _TRANSACTIONS, "open transactions of events.clean"),
            StatePart("events-dlq", _TRANSACTIONS, "open transactions of events.dlq"),
        ),
        schemas=("sluice.events.Clean", "sluice.events.DeadLetter"),
        migration=3,
        parallelism_setting="ingest_parallelism",
        settings=("ingest_", "checkpoint_seconds", "buffer_timeout_ms", "transaction_timeout"),
        health=Health(judged=("sluice.events_in",), refused=("events_refused",)),
        lanes=True,
    ),
    JobSpec(
        name="timescale",
        purpose="writes clean events into TimescaleDB",
        module="jobs.timescale",
        inputs=("events.clean",),
        writes=(
            Output("events", OutputKind.TABLE, harmless=True,
                   again="the same rows are written again", time="cleaned_at"),
            _letters(Stage.TIMESCALE),
        ),
        state=_SINK_STATE,
        schemas=("sluice.events.Clean", "sluice.events.DeadLetter"),
        migration=7,
        parallelism_setting="timescale_parallelism",
        settings=("timescale_parallelism", "timescale_linger_ms", "sink_", "checkpoint_seconds",
                  "buffer_timeout_ms", "transaction_timeout", "ingest_dedupe_hours"),
        health=Health(judged=("sluice.events_written", "sluice.events_refused"),
                      refused=("sluice.events_refused",)),
        lanes=True,
    ),
    JobSpec(
        name="search",
        purpose="writes clean events into Elasticsearch",
        module="jobs.search",
        inputs=("events.clean",),
        writes=(
            Output("events", OutputKind.INDEX, harmless=True,
                   again="the same documents are written again", time="cleaned_at"),
            _letters(Stage.SEARCH),
        ),
        state=_SINK_STATE,
        schemas=("sluice.events.Clean", "sluice.events.DeadLetter"),
        parallelism_setting="search_parallelism",
        settings=("search_", "sink_", "checkpoint_seconds", "buffer_timeout_ms",
                  "transaction_timeout", "ingest_dedupe_hours"),
        health=Health(judged=("sluice.events_written", "sluice.events_refused"),
                      refused=("sluice.events_refused",)),
        lanes=True,
    ),
)


def find_job(name: str) -> JobSpec | None:
    """Return a job by its name."""
    return next((job for job in JOBS if job.name == name), None)


def main() -> None:
    """Print what this tree knows of its jobs: another version of the control plane reads it."""
    sys.stdout.write(json.dumps([job.as_json() for job in JOBS]))


if __name__ == "__main__":
    main()
