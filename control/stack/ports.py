"""Choose ports: the usual one if it is free, another one if not, and the same one next time."""

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from control.errors import SluiceError

HOST = "127.0.0.1"

# How far above the usual port to look. Stays below Linux's range of outgoing ports (32768+).
_SEARCH = 400

# Two stacks that start at once both see a port as free until one of them listens. A claim keeps
# the second off for longer than any server takes to start.
_CLAIM_SECONDS = 120


@dataclass(frozen=True)
class Moved:
    """A port that had to differ from the usual one."""

    component: str
    purpose: str
    usual: int
    chosen: int


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT after a restart is not taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class PortAllocator:
    """Hands out ports to one stack, mindful of the other stacks of this machine."""

    def __init__(self, owner: str, free: Callable[[int], bool] = is_free,
                 claims: Path | None = None) -> None:
        self._owner = owner
        self._free = free
        self._claims_file = claims or (
            Path(tempfile.gettempdir()) / f"sluice-ports-{os.geteuid()}.json"
        )

    def choose(
        self,
        wanted: Mapping[str, Mapping[str, int]],
        remembered: dict[str, dict[str, int]],
        running: Callable[[str], bool],
    ) -> list[Moved]:
        """Fill `remembered` with a port for each purpose; return those that changed just now."""
        moved = []
        with self._claims() as claims:
            taken = {port for ports in remembered.values() for port in ports.values()}
            for component, purposes in wanted.items():
                chosen = remembered.setdefault(component, {})
                alive = running(component)
                for purpose, usual in purposes.items():
                    current = chosen.get(purpose)
                    if current is not None and (alive or self._usable(current, claims)):
                        port = current
                    else:
                        port = self._search(component, usual, taken, claims)
                        if port != usual:
                            moved.append(Moved(component, purpose, usual, port))
                    chosen[purpose] = port
                    taken.add(port)
                    claims[str(port)] = {"owner": self._owner, "time": time.time()}
        return moved

    def _search(self, component: str, usual: int, taken: set[int], claims: dict[str, Any]) -> int:
        for port in range(usual, usual + _SEARCH):
            if port not in taken and self._usable(port, claims):
                return port
        message = f"No free port for {component} between {usual} and {usual + _SEARCH - 1}."
        raise SluiceError(message, "Stop what listens there: `ss -ltnp` shows it.")

    def _usable(self, port: int, claims: dict[str, Any]) -> bool:
        claim = claims.get(str(port))
        foreign = claim is not None and claim["owner"] != self._owner
        return not foreign and self._free(port)

    @contextmanager
    def _claims(self) -> Iterator[dict[str, Any]]:
        try:
            descriptor = os.open(self._claims_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            message = f"{self._claims_file} cannot be written: {error.strerror}."
            raise SluiceError(message, "Remove it, or set TMPDIR to another folder.") from error
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            claims = _fresh(file)
            yield claims
            file.seek(0)
            file.truncate()
            json.dump(claims, file)


def _fresh(file: TextIO) -> dict[str, Any]:
    """Return the claims that still hold; what cannot be read holds nothing."""
    try:
        content = json.load(file)
        now = time.time()
        return {
            port: claim for port, claim in content.items()
            if "owner" in claim and 0 <= now - claim["time"] < _CLAIM_SECONDS
        }
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}
