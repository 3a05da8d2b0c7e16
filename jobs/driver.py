"""Build a job and hand it to Flink: what Flink's client runs, as `-pym jobs.driver`."""

import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType

import cloudpickle
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

from control.errors import SluiceError
from control.logs import configure_logging
from control.settings import Settings, load_settings
from jobs.catalogue import find_job

_OURS = ("jobs", "udfs")


def environment(
    settings: Settings, jars: Sequence[str], mode: str, parallelism: int,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> StreamExecutionEnvironment:
    """Return an environment with what all jobs share."""
    # Our code travels inside the job, not as modules that a worker imports: workers in thread mode
    # keep a module for ever, and a new version of a job would go on with the old code.
    for name in _OURS:
        cloudpickle.register_pickle_by_value(importlib.import_module(name))
    configuration = Configuration()
    for key, value in {"python.execution-mode": mode, **extra}.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    if jars:
        env.add_jars(*jars)
    env.set_parallelism(parallelism)
    env.set_buffer_timeout(settings.buffer_timeout_ms)
    if settings.checkpoint_seconds is not None:
        env.enable_checkpointing(round(settings.checkpoint_seconds * 1000))
    return env


def main(name: str, *jars: str) -> int:
    """Build the named job and submit it with the jars (addresses) that it needs."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    job = find_job(name)
    if job is None:
        logging.getLogger(__name__).error("there is no job %s", name)
        return 2
    module: ModuleType = importlib.import_module(f"{job.module}_setup")
    try:
        env = module.prepare(settings, jars)
    except SluiceError as error:
        # The command that started us reads this line.
        sys.stderr.write(f"Refused: {error.message} {error.hint}\n")
        return int(error.exit_code)
    env.execute(job.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
