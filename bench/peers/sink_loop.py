"""A hand-written loop: confluent-kafka in batches, fastavro, one batch one transaction.

python -m bench.peers.sink_loop KIND ADDRESS BOOTSTRAP TOPIC GROUP SCHEMA_FILE
"""

import sys
import time

from confluent_kafka import Consumer

from bench.peers.stores import Meter

BATCH = 5_000
IDLE_SECONDS = 5.0


def main(kind: str, address: str, bootstrap: str, topic: str, group: str, schema: str) -> None:
    """Write until nothing has come for a while."""
    meter = Meter(kind, address, schema)
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "fetch.message.max.bytes": 4 * 2**20,
        "queued.min.messages": 20_000,
    })
    consumer.subscribe([topic])
    begun = False
    last = time.monotonic()
    while not begun or time.monotonic() - last < IDLE_SECONDS:
        messages = consumer.consume(BATCH, timeout=0.2)
        if messages:
            meter.write(message.value() for message in messages)
            consumer.commit(asynchronous=False)
            begun, last = True, time.monotonic()
    consumer.close()
    meter.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
