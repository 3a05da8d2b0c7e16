"""Source trees and archives for the tests of what becomes of them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from control.archive.pack import Archive, pack
from control.archive.source import SourceTree

CODE: dict[str, str | bytes] = {
    "jobs/__init__.py": "", "jobs/ingest.py": "print('ingest')\n",
    "udfs/score.py": "def score() -> int:\n    return 1\n",
    "control/errors.py": "class SluiceError(Exception): ...\n",
    "schemas/user/1.avsc": "{}\n", "schemas/sql/001 événements.sql": "SELECT 1;\n",
    "locks/runtime.txt": "click==8.5.1\n", "pyproject.toml": "[project]\n",
}
# Files beside the jobs' code, which stay out.
OTHERS: dict[str, str | bytes] = {
    "README.md": "read me\n", "serving/api.py": "", "tests/test_x.py": "", "locks/dev.txt": "",
}


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c",
         "commit.gpgsign=false", *arguments],
        cwd=root, check=True, capture_output=True, text=True,
    )
    return done.stdout


def checkout(root: Path, files: Mapping[str, str | bytes] = CODE | OTHERS) -> SourceTree:
    """Return a tree whose files are all in a commit."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet")
    write(root, files)
    commit_all(root)
    return SourceTree(root)


def commit_all(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")


def packed(folder: Path, files: Mapping[str, str | bytes] = CODE, **manifest: object) -> Archive:
    """Return the archive of a tree without git."""
    write(folder / "tree", files)
    return pack(SourceTree(folder / "tree"), folder / "out", manifest)


def child(code: str, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
    """Start a Python of its own with some code."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env={**os.environ, **environment},
        stdout=subprocess.PIPE,
    )
