"""The topics of the product and the settings they must have."""

from dataclasses import dataclass, field

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class TopicSpec:
    """One topic as it should be."""

    name: str
    partitions: int
    purpose: str
    settings: dict[str, str] = field(default_factory=dict)


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}


_COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}

# Poison reaches megabytes on purpose, and a dead letter carries the original bytes and says why.
_LARGE = {"max.message.bytes": str(10 * 2**20)}
_LARGER = {"max.message.bytes": str(12 * 2**20)}

# The broker's own clock: it is when an event was received, and a backfill of old events is kept
# as long as any other (retention goes by these times).
_BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}

_EVENTS = {**_kept(7), **_LARGE, **_BROKER_TIME}
_LETTERS = {**_kept(30), **_LARGER, **_BROKER_TIME}

# Eight partitions: one partition takes about 10 MB/s, and 100 million events of 300 bytes a day
# are 0.35 MB/s on average. Eight leave room for peaks and for a parallelism of eight.
TOPICS = (
    TopicSpec("events.raw", 8, "what producers send", _EVENTS),
    TopicSpec("events.clean", 8, "validated, unique events", _EVENTS),
    TopicSpec("events.dlq", 4, "dead letters with the original bytes", _LETTERS),
    TopicSpec("alerts", 4, "anomalies found", _kept(30)),
    TopicSpec("commands", 4, "what sagas ask other services to do", _kept(7)),
    TopicSpec("reference.tenants", 1, "reference data of tenants, the latest each", _COMPACTED),
    TopicSpec("rules", 1, "rules of the anomaly detection, the latest each", _COMPACTED),
)
