"""Look at the stack without changing it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from control.settings import public
from control.stack.component import Component, NotReadyError
from control.stack.context import OpenStack
from control.stack.process import memory_mb


class State(Enum):
    """How a server is."""

    UP = "up"
    DOWN = "down"
    SILENT = "silent"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ComponentStatus:
    """What is known of one server."""

    component: str
    state: State
    version: str
    address: str
    external: bool
    pid: int | None
    memory_mb: float | None
    uptime_s: int | None
    data: str | None
    data_mb: float | None
    log: str | None
    problem: str

    def as_json(self) -> dict[str, object]:
        """Return the fields for `--json`."""
        return {**vars(self), "state": self.state.value}


def read_status(stack: OpenStack) -> list[ComponentStatus]:
    """Ask every server of the last `up`, side by side."""
    wanted = stack.named(stack.state.wanted) or stack.components
    with ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(lambda part: _one(stack, part), wanted))


def _one(stack: OpenStack, part: Component) -> ComponentStatus:
    context = stack.context
    external = part.external_address(context) is not None
    process = None if external else part.find(context)
    version = problem = ""
    if external or process is not None:
        try:
            version = part.probe(context)
            state = State.UP
        except NotReadyError as error:
            state = State.DOWN if external else State.SILENT
            problem = str(error)
    elif part.name in stack.state.wanted:
        state, problem = State.DOWN, "its process is gone"
    else:
        state, problem = State.STOPPED, "not started"
    data = None if external else part.data(context)
    return ComponentStatus(
        component=part.name,
        state=state,
        version=version,
        address=public(part.reach(context)),
        external=external,
        pid=process.pid if process else None,
        memory_mb=memory_mb(process) if process else None,
        uptime_s=int(time.time() - process.create_time()) if process else None,
        data=str(data) if data else None,
        data_mb=_size_mb(data) if data else None,
        log=None if external else str(part.log(context)),
        problem=problem,
    )


def _size_mb(folder: Path) -> float:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_blocks * 512
        except OSError:
            # Servers delete files while we count.
            continue
    return round(total / 2**20, 1)
