"""What a savepoint or checkpoint holds: its operators, their state, the files it refers to.

The format is Flink's own and changes between its versions, so Flink's own classes read it, in a
short Java process.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.errors import SluiceError, TimedOutError
from control.settings import public
from control.stack.component import StackContext
from control.stack.java_build import build_savepoint_reader
from control.stack.servers.flink_conf import flink_java
from control.stack.servers.flink_dist import FLINK_DIST, PROFILE

_TIMEOUT_SECONDS = 60
# The reader's exit code when it says why the savepoint cannot be read.
_UNREADABLE = 2
_HINTS = {
    "absent": "Give the folder that holds the file _metadata, or that file.",
    "foreign": "Give the folder that holds a savepoint's file _metadata.",
    "version": "It needs the Flink that wrote it, or a newer one.",
    "damaged": "It cannot be restored either. Use another one, or take a new one.",
    "unreachable": "Check the address, the rights and, for a remote store, the plugin in"
                   " FLINK_PLUGINS_DIR.",
}


def local_path(address: str) -> Path | None:
    """Return where an address lies on this machine; None when nobody can look there."""
    scheme, _, rest = address.partition(":")
    # Flink writes no percent signs into its addresses: what looks like one is a name's own.
    return Path("/" + rest.lstrip("/")) if scheme == "file" else None


class SavepointUnreadableError(SluiceError):
    """There is no savepoint there, or not one that this Flink can restore."""


@dataclass(frozen=True)
class StateFile:
    """A file that holds state, with the size that it must at least have."""

    path: str
    size: int

    @property
    def local(self) -> Path | None:
        """Where it lies on this machine; None when it lies elsewhere."""
        scheme, colon, _ = self.path.partition(":")
        return Path(self.path) if not colon or "/" in scheme else local_path(self.path)

    @property
    def fault(self) -> str | None:
        """What is wrong with a local file; None when nothing is, or when nobody can look."""
        if self.local is None:
            return None
        try:
            found = self.local.stat().st_size
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        short = f"{self.path}: {found:,} of {self.size:,} bytes are there"
        return short if found < self.size else None


@dataclass(frozen=True)
class OperatorState:
    """The state of one operator, over all its subtasks."""

    # 32 hexadecimal digits; of an operator with a uid, what `operator_id` makes of it.
    id: str
    uid: str | None
    name: str | None
    parallelism: int
    max_parallelism: int
    # How many of its subtasks have state.
    subtasks: int
    # All of the following together.
    bytes: int
    keyed_bytes: int = 0
    operator_bytes: int = 0
    coordinator_bytes: int = 0
    # Records on their way, kept by unaligned checkpoints.
    in_flight_bytes: int = 0
    # None where they could not be read; timers are among them.
    keyed_states: tuple[str, ...] | None = ()
    operator_states: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What a person knows it by."""
        return self.uid or self.name or self.id


@dataclass(frozen=True)
class SavepointMetadata:
    """What a savepoint or checkpoint holds."""

    checkpoint_id: int
    # By label; operators without any state are among them.
    operators: tuple[OperatorState, ...]
    files: tuple[StateFile, ...]
    # State that lies in the file _metadata itself.
    inline_bytes: int
    location: str = ""
    # Of the format of the file _metadata.
    version: int = 0
    # savepoint or checkpoint; Flink before 1.15 did not say.
    kind: str | None = None
    # Of a savepoint: canonical or native.
    format: str | None = None

    @property
    def size(self) -> int:
        """All its bytes of state; a file that other checkpoints share counts in full."""
        return self.inline_bytes + sum(file.size for file in self.files)

    @property
    def unseen(self) -> int:
        """How many of its files lie where this machine cannot look."""
        return sum(1 for file in self.files if file.local is None)


def read_metadata(context: StackContext, path: str) -> SavepointMetadata:
    """Read what a savepoint holds: its folder, its file _metadata, or the address of either."""
    shown = public(path) if "://" in path else path
    try:
        done = subprocess.run(
            _command(context, path), env=_environment(context), capture_output=True,
            encoding="utf-8", errors="replace", check=False, timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        message = f"The savepoint {shown} was not read within {_TIMEOUT_SECONDS} s."
        raise TimedOutError(message, "Does the store that it lies in answer?") from error
    if done.returncode == 0:
        # Java itself may warn of something in the lines before.
        return parse_metadata(json.loads(done.stdout.splitlines()[-1]))
    words = done.stderr.strip() or f"exit code {done.returncode}"
    word, _, reason = words.splitlines()[-1].partition(": ")
    if done.returncode == _UNREADABLE and word in _HINTS:
        message = f"The savepoint {shown} cannot be read: {reason}."
        raise SavepointUnreadableError(message, _HINTS[word])
    message = f"The reader of savepoints failed: {words[-600:]}"
    raise SluiceError(message, "This is a fault of Sluice; please report it.")


def missing_files(metadata: SavepointMetadata) -> list[str]:
    """Return the addresses of the local files that are not there or too short."""
    return [file.path for file in metadata.files if file.fault is not None]


def parse_metadata(document: Mapping[str, Any]) -> SavepointMetadata:
    """Read the document that the Java class prints."""
    operators = [_operator(entry) for entry in document["operators"]]
    return SavepointMetadata(
        checkpoint_id=document["checkpoint_id"],
        operators=tuple(sorted(operators, key=lambda operator: (operator.label, operator.id))),
        files=tuple(StateFile(entry["path"], entry["size"]) for entry in document["files"]),
        inline_bytes=document["inline_bytes"],
        location=document["location"],
        version=document["version"],
        kind=document["properties"].get("kind"),
        format=document["properties"].get("format"),
    )


def _operator(entry: Mapping[str, Any]) -> OperatorState:
    kinds, keyed = entry["kinds"], entry["keyed_states"]
    return OperatorState(
        id=entry["id"],
        uid=entry["uid"],
        name=entry["name"],
        parallelism=entry["parallelism"],
        max_parallelism=entry["max_parallelism"],
        subtasks=entry["subtasks"],
        bytes=entry["bytes"],
        keyed_bytes=kinds["managed_keyed"] + kinds["raw_keyed"],
        operator_bytes=kinds["managed_operator"] + kinds["raw_operator"],
        coordinator_bytes=kinds["coordinator"],
        in_flight_bytes=kinds["in_flight"],
        keyed_states=None if keyed is None else tuple(keyed),
        operator_states=tuple(entry["operator_states"]),
    )


def _command(context: StackContext, path: str) -> list[str]:
    java = flink_java(context)
    jars = [
        build_savepoint_reader(context, java, FLINK_DIST),
        # Without a logger behind them Flink's classes load faster, and log nothing.
        *(jar for jar in sorted((FLINK_DIST / "lib").glob("*.jar"))
          if not jar.name.startswith("log4j-")),
        # Its serializers stand before the names of keyed states.
        *(FLINK_DIST / "opt").glob("flink-python-*.jar"),
    ]
    return [
        str(java.executable), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
        "-cp", os.pathsep.join(map(str, jars)), "SavepointReader", path,
    ]


def _environment(context: StackContext) -> dict[str, str]:
    """Return the caller's environment, where a remote store's credentials are, and more."""
    own = "flink_url" not in context.settings.explicit
    conf = context.home.conf / "jobmanager" if own else PROFILE.with_name("production")
    environment = {
        "FLINK_PLUGINS_DIR": str(FLINK_DIST / "plugins"),
        **{name: value for name, value in os.environ.items() if name != "FLINK_CONF_DIR"},
        # Without it Java cannot open a file whose name is not ASCII.
        "LC_ALL": "C.UTF-8",
    }
    # Before the first `up` there are no settings; Flink's own defaults do for local files.
    if (conf / "config.yaml").exists():
        environment["FLINK_CONF_DIR"] = str(conf)
    return environment


_MASK = (1 << 64) - 1
_FIRST = 0x87C37B91114253D5
_SECOND = 0x4CF5AD432745937F


def operator_id(uid: str) -> str:
    """Return the operator id that Flink derives from a uid: MurmurHash3 of 128 bits, seed 0."""
    data = uid.encode()
    first = second = 0
    whole = len(data) // 16 * 16
    for start in range(0, whole, 16):
        low, high = _words(data[start:start + 16])
        first ^= _mixed_first(low)
        first = ((_rotated(first, 27) + second) * 5 + 0x52DCE729) & _MASK
        second ^= _mixed_second(high)
        second = ((_rotated(second, 31) + first) * 5 + 0x38495AB5) & _MASK
    low, high = _words(data[whole:])
    first ^= _mixed_first(low) ^ len(data)
    second ^= _mixed_second(high) ^ len(data)
    first = (first + second) & _MASK
    second = (second + first) & _MASK
    first, second = _finished(first), _finished(second)
    first = (first + second) & _MASK
    second = (second + first) & _MASK
    return (first.to_bytes(8, "little") + second.to_bytes(8, "little")).hex()


def _words(block: bytes) -> tuple[int, int]:
    return int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK


def _mixed_first(word: int) -> int:
    return _rotated(word * _FIRST & _MASK, 31) * _SECOND & _MASK


def _mixed_second(word: int) -> int:
    return _rotated(word * _SECOND & _MASK, 33) * _FIRST & _MASK


def _finished(word: int) -> int:
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & _MASK
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return word ^ word >> 33
