"""Transactions that a run beside the live job has left open."""

import re

from kafka import KafkaProducer
from kafka.errors import KafkaError

from control.errors import SluiceError
from control.kafka import admin_client
from jobs.lane import Lane

_OPEN = ["Ongoing"]
_TIMEOUT_MS = 30_000


def end_transactions(bootstrap: str, job: str, lane: Lane) -> int:
    """Abort what a lane that never runs again has left open; return how many there were.

    Until then nobody who reads committed messages gets past them.
    """
    # Flink puts the task and the checkpoint behind the name that it is given.
    own = re.compile(rf"(.*-)?{re.escape(job)}(-.*)?-{re.escape(lane.name)}-\d+-\d+")
    with admin_client(bootstrap) as admin:
        listed = admin.list_transactions(state_filters=_OPEN)
    names = [one.transactional_id for entries in listed.values() for one in entries
             if own.fullmatch(one.transactional_id)]
    for name in names:
        _abort(bootstrap, name)
    return len(names)


def _abort(bootstrap: str, name: str) -> None:
    try:
        # Whoever begins under a name ends what was begun under it before.
        producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name,
                                 client_id="sluice", max_block_ms=_TIMEOUT_MS)
        try:
            producer.init_transactions()
        finally:
            producer.close(timeout=5)
    except KafkaError as error:
        message = f"The open transaction {name} was not ended: {error}"
        raise SluiceError(message, "The same command again tries once more.") from error
