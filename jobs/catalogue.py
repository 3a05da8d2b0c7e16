"""The jobs of the product."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JobSpec:
    """What must be known of a job to start it."""

    name: str
    purpose: str
    # Imported only where the job is built: importing PyFlink takes a second.
    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


JOBS = (
    JobSpec(
        "ingest", "validates, enriches and deduplicates what producers send", "jobs.ingest",
        ("events.raw", "reference.tenants"), ("events.clean", "events.dlq"),
    ),
    JobSpec(
        "timescale", "writes clean events into TimescaleDB", "jobs.timescale",
        ("events.clean",), ("table events", "events.dlq"),
    ),
    JobSpec(
        "search", "writes clean events into Elasticsearch", "jobs.search",
        ("events.clean",), ("index events-*", "events.dlq"),
    ),
)


def find_job(name: str) -> JobSpec | None:
    """Return a job by its name."""
    return next((job for job in JOBS if job.name == name), None)
