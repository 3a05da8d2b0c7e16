"""Put together what the stack's commands work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from control.settings import Settings
from control.stack.artifacts import ArtifactCache, load_artifacts
from control.stack.catalogue import all_components
from control.stack.component import Component, StackContext
from control.stack.home import StackHome, StackState
from control.stack.process import ProcessTable
from control.stack.unprivileged import UnprivilegedArea
from control.stack.wheels import WheelCache


@dataclass(frozen=True)
class OpenStack:
    """A stack as it is remembered, with its servers."""

    context: StackContext
    state: StackState
    components: list[Component]

    def named(self, names: list[str]) -> list[Component]:
        """Return the servers with these names."""
        return [component for component in self.components if component.name in names]


def open_stack(settings: Settings, database: str | None = None) -> OpenStack:
    """Read a stack's state; nothing is started or written."""
    home = StackHome(settings.home)
    state = home.load()
    if database is not None:
        state.database = database
    components = all_components(state.database)
    usual: Mapping[str, Mapping[str, int]] = {part.name: part.ports for part in components}
    for name, ports in usual.items():
        state.ports.setdefault(name, {})
        # A purpose that a newer version added; `up` checks whether the port is free.
        for purpose, port in ports.items():
            state.ports[name].setdefault(purpose, port)
    context = StackContext(
        settings=settings,
        home=home,
        ports=state.ports,
        artifacts=load_artifacts(),
        cache=ArtifactCache(settings.cache_dir, settings.maven_url),
        wheels=WheelCache(settings.cache_dir),
        area=UnprivilegedArea(settings.home, state.stack_id, state.unprivileged),
        processes=ProcessTable(home.run, state.stack_id),
    )
    return OpenStack(context, state, components)
