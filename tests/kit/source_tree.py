"""A checkout of somebody's own: our code, and a counting job with what a test wants wrong."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from control.settings import PROJECT_ROOT

_PARTS = ("jobs", "udfs", "control", "schemas", "locks/runtime.txt", "pyproject.toml")
_COUNTING = PROJECT_ROOT / "tests" / "lifecycle" / "counting"
_SOUND: dict[str, Any] = {
    "version": "1", "uid": "count", "mode": "process", "max_parallelism": None,
    # How the count is kept, and how it says that it is; the same where nothing is said.
    "state": "json", "form": "",
    "crash_after": None, "refuses": False, "stalls": False, "fails_at_end": False,
    # How many keys, and how many letters each keeps beside its count.
    "keys": 10, "ballast": 0, "comment": "",
}


class SourceTree:
    """A git repository with a counting job in it."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self._variant = {**_SOUND, "name": name}
        self._copy()
        self._git("init", "-q")
        self.change()

    def change(self, **variant: Any) -> None:
        """Change the job's code, and commit that."""
        self.edit(**variant)
        self.commit()

    def edit(self, **variant: Any) -> None:
        """Change the job's code, and leave it so."""
        self._variant |= variant
        (self.root / "jobs" / "counting_variant.py").write_text(
            f'"""What is special about this version."""\n\nVARIANT = {self._variant!r}\n',
            encoding="utf-8",
        )

    def commit(self) -> None:
        """Commit what is there."""
        self._git("add", "-A")
        self._git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q",
                  "--allow-empty", "-m", "change")

    def _copy(self) -> None:
        known = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", *_PARTS],
            cwd=PROJECT_ROOT, text=True, capture_output=True, check=True,
        ).stdout.splitlines()
        for name in known:
            source, target = PROJECT_ROOT / name, self.root / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        for file in _COUNTING.glob("counting*.py"):
            shutil.copyfile(file, self.root / "jobs" / file.name)
        catalogue = self.root / "jobs" / "catalogue.py"
        text = catalogue.read_text(encoding="utf-8")
        assert "\ndef find_job" in text
        catalogue.write_text(
            text.replace("\ndef find_job", "\nfrom jobs.counting_spec import SPEC  # noqa: E402\n"
                         "\nJOBS = (*JOBS, SPEC)\n\n\ndef find_job", 1), encoding="utf-8",
        )

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True)
