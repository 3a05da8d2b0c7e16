"""Build a job and hand it to Flink: what Flink's client runs, as `-pym jobs.driver`.

It builds first and then waits for the word to start: an upgrade prepares the new version while the
old one still runs. Both sides talk by files in a folder (jobs/order.py). Told a job's name instead
of an order's file, it submits at once: so Kubernetes starts a job, and gives id, state and
parallelism to Flink itself.
"""

import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import cloudpickle
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from control.errors import SluiceError
from control.logs import configure_logging
from control.settings import Settings, load_settings
from jobs.catalogue import find_job
from jobs.lane import LIVE, lane_from_json
from jobs.order import Go, Order, read_go, write_done, write_graph
from jobs.uids import part_from_live, settle_numbers

_OURS = ("jobs", "udfs")
_POLL_SECONDS = 0.02
# Nobody waits this long: whoever prepared us has forgotten us.
_WAIT_SECONDS = 3600


def environment(
    settings: Settings, jars: Sequence[str], mode: str, parallelism: int,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> StreamExecutionEnvironment:
    """Return an environment with what all jobs share."""
    # Our code travels inside the job, not as modules that a worker imports: workers in thread mode
    # keep a module for ever, and a new version of a job would go on with the old code.
    for name in _OURS:
        cloudpickle.register_pickle_by_value(importlib.import_module(name))
    env = StreamExecutionEnvironment.get_execution_environment(
        _configuration({"python.execution-mode": mode, **extra})
    )
    if jars:
        env.add_jars(*jars)
    env.set_parallelism(parallelism)
    env.set_buffer_timeout(settings.buffer_timeout_ms)
    if settings.checkpoint_seconds is not None:
        env.enable_checkpointing(round(settings.checkpoint_seconds * 1000))
    return env


def main(what: str, *own: str) -> int:
    """Build the job that an order names, wait for the word, submit it; a job's name: at once."""
    ordered = what.endswith(".json")
    order = Order.read(Path(what)) if ordered else _own_order(what, own)
    settings = load_settings(**order.settings)
    configure_logging(settings.log_level, settings.log_format)
    lane = LIVE if order.lane is None else lane_from_json(order.lane)
    job = find_job(order.job)
    if job is None:
        return _refuse(f"This version has no job {order.job}.")
    module: ModuleType = importlib.import_module(f"{job.module}_setup")
    try:
        env = module.prepare(settings, order.jars, lane)
    except SluiceError as error:
        return _refuse(f"{error.message} {error.hint}", int(error.exit_code))
    env.configure(_configuration(order.flink))
    env.get_config().set_global_job_parameters(dict(order.tells))
    stream_graph = env._generate_stream_graph(  # noqa: SLF001 - there is no other way to it
        clear_transformations=True, job_name=lane.own(job.name)
    )
    try:
        settle_numbers(stream_graph, job)
    except SluiceError as error:
        return _refuse(f"{error.message} {error.hint}", int(error.exit_code))
    if not lane.is_live:
        part_from_live(stream_graph, job, lane)
    if ordered:
        if not order.jars:
            # The cluster has all classes. Flink's client would send Python's nevertheless.
            env._j_stream_execution_environment.getConfiguration().removeConfig(  # noqa: SLF001
                get_gateway().jvm.org.apache.flink.configuration.PipelineOptions.JARS
            )
        write_graph(order.folder, _describe(stream_graph, job.mode))
        _warm_up(env, stream_graph)
        go = _wait(order)
        if go is None:
            return _refuse("Nobody waits for this job any more.")
        env.configure(_configuration(_restore(order, go)))
    env._j_stream_execution_environment.execute(stream_graph)  # noqa: SLF001
    if ordered:
        # To end takes this process, and Java around it, another second.
        write_done(order.folder)
    return 0


def _warm_up(env: StreamExecutionEnvironment, stream_graph: Any) -> None:
    """Do once what submitting does, while nobody waits: Java loads two thousand classes for it."""
    jvm = get_gateway().jvm
    jvm.org.apache.flink.util.InstantiationUtil.serializeObject(stream_graph)
    client = jvm.org.apache.flink.client.program.rest.RestClusterClient(
        env._j_stream_execution_environment.getConfiguration(),  # noqa: SLF001
        jvm.org.apache.flink.client.deployment.StandaloneClusterId.getInstance(),
    )
    try:
        client.listJobs().get()
    finally:
        client.close()


def _own_order(name: str, pairs: Sequence[str]) -> Order:
    """Return what to build where nobody gives an order: the settings, and name=value behind it."""
    own = {**load_settings().jobs.get(name, {}), **dict(pair.split("=", 1) for pair in pairs)}
    flink = {key: str(value) for key, value in own.pop("flink", {}).items()}
    job = find_job(name)
    if job is not None and job.parallelism_setting:
        # What whoever submits has told Flink; it is also what they see and change.
        flink_says = StreamExecutionEnvironment.get_execution_environment().get_parallelism()
        own[job.parallelism_setting] = flink_says
    return Order(name, Path(), (), "", own, flink, {"sluice.job": name})


def _restore(order: Order, go: Go) -> dict[str, str]:
    # An id of our own makes submitting twice harmless: Flink refuses the second.
    settings = {"$internal.pipeline.job-id": order.flink_job}
    if go.savepoint is not None:
        settings |= {
            "execution.state-recovery.path": go.savepoint,
            "execution.state-recovery.ignore-unclaimed-state": str(go.allow_dropped).lower(),
        }
    return settings


def _wait(order: Order) -> Go | None:
    parent = os.getppid()
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline and os.getppid() == parent:
        go = read_go(order.folder)
        if go is not None:
            return go
        time.sleep(_POLL_SECONDS)
    return None


def _describe(stream_graph: Any, mode: str) -> dict[str, Any]:
    """Return the operators with the ids by which Flink will look for their state, and inputs."""
    operators = []
    shown = {}
    hasher = get_gateway().jvm.org.apache.flink.streaming.api.graph.StreamGraphHasherV2()
    # By the number of a node: the id that Flink makes for its operator.
    made = {number: bytes(value).hex() for number, value
            in hasher.traverseStreamGraphAndGenerateHashes(stream_graph).items()}
    inputs = {made[node.getId()]: [made[edge.getSourceId()] for edge in node.getInEdges()]
              for node in stream_graph.getStreamNodes().toArray()}
    # An array, because the bridge to Java cannot go through what is merely iterable.
    for vertex in stream_graph.getJobGraph().getVerticesAsArray():
        for pair in vertex.getOperatorIDs():
            own, generated = pair.getUserDefinedOperatorID(), str(pair.getGeneratedOperatorID())
            shown[generated] = str(own.get()) if own.isPresent() else generated
            operators.append({
                "id": shown[generated],
                "uid": pair.getUserDefinedOperatorUid(),
                "name": str(pair.getUserDefinedOperatorName() or vertex.getName()),
                "vertex": str(vertex.getName()),
                "parallelism": int(vertex.getParallelism()),
                "max_parallelism": int(vertex.getMaxParallelism()),
                "inputs": inputs.get(generated, []),
            })
    for operator in operators:
        operator["inputs"] = [shown.get(one, one) for one in operator["inputs"]]
    return {"mode": mode, "operators": operators}


def _configuration(values: Mapping[str, str]) -> Configuration:
    configuration = Configuration()
    for key, value in values.items():
        configuration.set_string(key, value)
    return configuration


def _refuse(message: str, code: int = 2) -> int:
    # The command that started us reads this line.
    sys.stderr.write(f"Refused: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
