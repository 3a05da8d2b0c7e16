"""Job `counting`: each number once, with how many of its key came before."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

from jobs.counting_variant import VARIANT
from pyflink.common import Types
from pyflink.datastream import (
    KeyedProcessFunction,
    OutputTag,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import ValueStateDescriptor

from jobs.kafka import BYTES, Delivery, read_topic, write_topic
from jobs.lane import Lane

REFUSED = OutputTag("refused", BYTES)
_KEYS = VARIANT["keys"]
_FORM = VARIANT["state"]


class Count(KeyedProcessFunction):  # type: ignore[misc]
    """Counts the numbers of a key; keeps the count as versioned bytes."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._count = runtime_context.get_state(ValueStateDescriptor("count", Types.STRING()))
        self._begun = time.monotonic()
        group = runtime_context.get_metrics_group().add_group("sluice")
        self._in = group.counter("events_in")
        self._refused = group.counter("events_refused")

    def _kept(self) -> int:
        kept = json.loads(self._count.value() or json.dumps({"v": _FORM, "count": 0}))
        if kept["v"] != _FORM:
            message = f"the count is kept in form {kept['v']}, not {_FORM}"
            raise ValueError(message)
        return int(kept["count"])

    def close(self) -> None:
        if VARIANT["fails_at_end"]:
            message = "it cannot let go"
            raise RuntimeError(message)

    def process_element(self, value: bytes, _ctx: Any) -> Iterator[Any]:
        crash_after = VARIANT["crash_after"]
        if crash_after is not None and time.monotonic() - self._begun >= crash_after:
            message = "the new version has a bug"
            raise RuntimeError(message)
        if VARIANT["stalls"]:
            time.sleep(3600)
        self._in.inc()
        if VARIANT["refuses"]:
            self._refused.inc()
            yield REFUSED, value
            return
        count = self._kept() + 1
        ballast = random.randbytes(VARIANT["ballast"] // 2).hex()
        self._count.update(json.dumps({"v": _FORM, "count": count, "ballast": ballast}))
        yield f"{int(value)} {int(value) % _KEYS} {count} {VARIANT['version']}".encode()


def build(env: StreamExecutionEnvironment, bootstrap: str, lane: Lane) -> None:
    """Add the whole job to an environment."""
    name = VARIANT["name"]
    counted = (
        read_topic(env, lane, bootstrap, f"{name}-numbers", f"{name}", "numbers")
        .key_by(lambda value: int(value) % _KEYS, key_type=Types.LONG())
        .process(Count(), BYTES)
        .name("count")
        .uid(VARIANT["uid"])
    )
    if VARIANT["max_parallelism"] is not None:
        counted.set_max_parallelism(VARIANT["max_parallelism"])
    for what, stream in (
        ("answers", counted), ("refused", counted.get_side_output(REFUSED))
    ):
        delivery = Delivery(lane, bootstrap, f"{name}-{what}", 600_000)
        write_topic(stream, delivery, f"{name}-{what}", what)
