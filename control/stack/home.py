"""The stack's folder: where things lie, what is remembered, and who holds it."""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from control.errors import RefusedError, SluiceError


@dataclass
class StackState:
    """What a stack remembers between commands."""

    # Marks every process that this stack starts; see process.py.
    stack_id: str
    # component -> purpose -> port; a port once chosen stays.
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    # The components of the last `up`: what `status` expects to see.
    wanted: list[str] = field(default_factory=list)
    database: str = "postgres"
    # The folder of the servers that refuse root, where it cannot lie under the home.
    unprivileged: str | None = None


class StackHome:
    """Paths and remembered state below SLUICE_HOME."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.logs = path / "logs"
        self.data = path / "data"
        self.conf = path / "conf"
        self.checkpoints = path / "checkpoints"
        self.savepoints = path / "savepoints"
        self._state_file = path / "stack.json"

    @property
    def exists(self) -> bool:
        """Tell whether a stack was ever started here."""
        return self._state_file.exists()

    def create(self) -> None:
        """Make the folders, or say why they cannot be made."""
        try:
            for folder in (self.run, self.logs, self.data, self.conf, self.checkpoints,
                           self.savepoints):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.run / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            message = f"The stack's folder {self.path} cannot be written: {error.strerror}."
            hint = "Give yourself write permission there, or set SLUICE_HOME to another folder."
            raise SluiceError(message, hint) from error

    def load(self) -> StackState:
        """Read what is remembered; a fresh state where there is none or it is unreadable."""
        content = read_json(self._state_file)
        # The id comes from the path: servers that run are found even if the file is lost.
        stack_id = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:32]
        if not isinstance(content, dict) or "stack_id" not in content:
            return StackState(stack_id=stack_id)
        known = {key: content[key] for key in StackState.__dataclass_fields__ if key in content}
        return StackState(**known)

    def save(self, state: StackState) -> None:
        """Write down what is to be remembered."""
        write_json(self._state_file, asdict(state))

    def save_addresses(self, addresses: dict[str, str]) -> None:
        """Write down where the servers are, for the settings of every later command."""
        write_json(self.path / "addresses.json", addresses)

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        """Hold the stack alone; a second command is refused with the name of the first."""
        self.create()
        # The kernel drops the lock with the process, so a kill -9 leaves nothing stale.
        with (self.path / "stack.lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another command"
                message = f"The stack in {self.path} is busy: {holder} is running."
                raise RefusedError(message, "Wait for it to end, then try again.") from None
            file.truncate(0)
            file.write(f"`sluice stack {purpose}` (pid {os.getpid()})")
            file.flush()
            yield
            file.truncate(0)


def read_json(path: Path) -> Any:
    """Return a JSON file's content, or None where there is none to be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
