"""Which servers make up the stack."""

from control.errors import MisuseError
from control.stack.component import Component
from control.stack.servers.elasticsearch import Elasticsearch
from control.stack.servers.flink import TASK_MANAGERS, JobManager, TaskManager
from control.stack.servers.kafka import Kafka
from control.stack.servers.postgres import Postgres
from control.stack.servers.redis import Redis
from control.stack.servers.registry import Registry
from control.stack.servers.timescale_wasm import TimescaleWasm
from control.stack.servers.zookeeper import Zookeeper

DATABASES = ("postgres", "timescale-wasm")


def all_components(database: str) -> list[Component]:
    """Return the servers in the order in which they are shown."""
    return [
        Kafka(),
        Registry(),
        Postgres() if database == "postgres" else TimescaleWasm(),
        Elasticsearch(),
        Redis(),
        Zookeeper(),
        JobManager(),
        *(TaskManager(number) for number in range(1, TASK_MANAGERS + 1)),
    ]


def groups(components: list[Component]) -> dict[str, list[str]]:
    """Return the names that `--only` takes, and which servers each stands for."""
    names = [component.name for component in components]
    workers = [name for name in names if name.startswith("taskmanager")]
    database = next(name for name in names if name in DATABASES)
    return {
        **{name: [name] for name in names},
        "database": [database],
        # Whichever database the stack has, people call it by the usual names.
        "timescale": [database],
        "postgres": [database],
        "flink": ["zookeeper", "jobmanager", *workers],
    }


def select(components: list[Component], only: str | None) -> list[Component]:
    """Return the servers that `--only a,b` names; all of them without it."""
    if only is None:
        return components
    known = groups(components)
    wanted: set[str] = set()
    for name in filter(None, (part.strip() for part in only.split(","))):
        if name not in known:
            message = f"There is no server {name!r} in the stack."
            raise MisuseError(message, f"Choose from {', '.join(sorted(known))}.")
        wanted |= set(known[name])
    if not wanted:
        message = "--only names no server."
        raise MisuseError(message, f"Choose from {', '.join(sorted(known))}.")
    return [component for component in components if component.name in wanted]
