"""What every server of the stack has in common."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event

import psutil

from control.settings import Settings
from control.stack.artifacts import Artifact, ArtifactCache
from control.stack.home import StackHome
from control.stack.java import Java, JavaNeed, choose_java, find_javas
from control.stack.ports import HOST
from control.stack.process import Launch, ProcessTable
from control.stack.unprivileged import UnprivilegedArea
from control.stack.wheels import WheelCache


class NotReadyError(Exception):
    """The server does not answer yet; the text says what it did answer."""


@dataclass(frozen=True)
class StackContext:
    """What a component needs to know of its surroundings."""

    settings: Settings
    home: StackHome
    ports: Mapping[str, Mapping[str, int]]
    artifacts: Mapping[str, Artifact]
    cache: ArtifactCache
    wheels: WheelCache
    area: UnprivilegedArea
    processes: ProcessTable
    # Set by a Ctrl-C: whoever waits for a server stops waiting, and stops the server.
    stopping: Event = field(default_factory=Event)

    @cached_property
    def javas(self) -> list[Java]:
        """The Java installations to choose from; looked for only when a server needs one."""
        return find_javas(self.settings.java_home)

    def port(self, component: str, purpose: str) -> int:
        """Return the port chosen for a purpose of a component."""
        return self.ports[component][purpose]

    def java(self, need: JavaNeed) -> Java:
        """Return the Java that a server runs on."""
        return choose_java(need, self.javas, self.wheels.ensure)


class Component(ABC):
    """One server: how to prepare, start, ask and stop it. It decides nothing."""

    name: str
    # The setting that names a server of one's own instead, and that gets the address.
    setting: str | None = None
    ports: Mapping[str, int]
    artifacts: tuple[str, ...] = ()
    java: JavaNeed | None = None
    # Components that must answer before this one is started.
    after: tuple[str, ...] = ()
    # `down` goes through the stages in order: readers before what they read from.
    stop_stage: int = 1
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 8
    start_seconds: float = 90
    # How long a live process may be silent before `up` starts it anew; None: never, because it
    # holds data or work that a person should decide about.
    silent_seconds: float | None = None
    # A part of the command line that tells the server from its children: a Python worker outlives
    # its killed TaskManager for a moment, and carries its mark.
    server_is: str

    @abstractmethod
    def prepare(self, context: StackContext) -> None:
        """Write the configuration and make the folders; doing it twice is harmless."""

    @abstractmethod
    def launch(self, context: StackContext) -> Launch:
        """Say how to start the server."""

    @abstractmethod
    def probe(self, context: StackContext) -> str:
        """Send the server a real request and return its version, or raise NotReadyError."""

    @abstractmethod
    def address(self, context: StackContext) -> str:
        """Return where clients find the server."""

    def data(self, context: StackContext) -> Path | None:
        """Return the folder with the server's data."""
        return context.home.data / self.name

    def log(self, context: StackContext) -> Path:
        """Return the server's log file."""
        return context.home.logs / f"{self.name}.log"

    def external_address(self, context: StackContext) -> str | None:
        """Return the address that a person set, when this server is not ours to start."""
        if self.setting is None or self.setting not in context.settings.explicit:
            return None
        value = getattr(context.settings, self.setting)
        return value if isinstance(value, str) else str(value.get_secret_value())

    def reach(self, context: StackContext) -> str:
        """Return where to send requests: to the server that was set, or to ours."""
        return self.external_address(context) or self.address(context)

    def host_port(self, context: StackContext, purpose: str) -> str:
        """Return `127.0.0.1:port` for a purpose."""
        return f"{HOST}:{context.port(self.name, purpose)}"

    def find(self, context: StackContext) -> psutil.Process | None:
        """Return the server's process, if it lives."""
        return context.processes.find(self.name, self.server_is)

    def ended(self, context: StackContext) -> None:  # noqa: B027 - most servers leave nothing
        """Tidy up after the server has ended by itself."""
