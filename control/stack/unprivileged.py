"""A folder and an account for the servers that refuse to run as root."""

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from control.errors import SluiceError
from control.stack.process import Account

_ACCOUNT_NAME = "nobody"
# Outside every home; kept across a restart of the machine, which /tmp is not.
_FALLBACK_ROOT = Path("/var/tmp")  # noqa: S108 - the folder made below it is owned and closed


class UnprivilegedArea:
    """Where such servers keep their data: below the home, or beside it when they cannot reach it.

    Run as root, they get an account of their own and folders made for it. The modes of existing
    folders are never changed: a home that the account cannot reach is left alone.
    """

    def __init__(self, home: Path, stack_id: str, remembered: str | None) -> None:
        self.account = _account()
        if self.account is None:
            self.path = home / "unprivileged"
        elif remembered is not None:
            self.path = Path(remembered)
        elif self._reaches(home):
            self.path = home / "unprivileged"
        else:
            self.path = _FALLBACK_ROOT / f"sluice-{stack_id[:12]}"

    def create(self) -> None:
        """Make the folder and give it to the account."""
        self.folder(self.path)

    def folder(self, path: Path) -> Path:
        """Make a folder that belongs to the account."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.account is not None:
                if path.is_symlink() or path.stat().st_uid not in (0, self.account.uid):
                    message = f"{path} belongs to somebody else."
                    raise SluiceError(message, "Remove it, or set SLUICE_HOME to another folder.")
                os.chown(path, self.account.uid, self.account.gid)
        except OSError as error:
            message = f"{path} cannot be made for the {_ACCOUNT_NAME} account: {error.strerror}."
            raise SluiceError(message, "Set SLUICE_HOME to a folder that others may enter.") from (
                error
            )
        return path

    def readable(self, path: Path, *beside: Path) -> Path:
        """Return a path that the account can read: this one, or a copy of it in the area.

        What lies `beside` it and is found from there (a wheel's shared libraries) comes along.
        """
        if self.account is None or self._reaches(path):
            return path
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        copies = self.folder(self.path / "programs") / digest
        if not copies.exists():
            draft = copies.with_name(f".{digest}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            for folder in (path, *beside):
                shutil.copytree(folder, draft / folder.name, symlinks=True)
            self.give(draft)
            draft.rename(copies)
        return copies / path.name

    def give(self, path: Path) -> None:
        """Make everything below a path the account's."""
        if self.account is None:
            return
        os.chown(path, self.account.uid, self.account.gid)
        for root, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(
                    Path(root) / name, self.account.uid, self.account.gid, follow_symlinks=False
                )

    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        """Return an environment whose HOME and TMPDIR the account may use."""
        temporary = self.folder(self.path / "tmp")
        return {**environment, "HOME": str(self.path), "TMPDIR": str(temporary)}

    def remove(self) -> None:
        """Delete the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _reaches(self, path: Path) -> bool:
        account = self.account
        if account is None:
            return True
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        # Asked of the kernel, because modes alone leave out access lists and mounts.
        probe = subprocess.run(
            ["/bin/sh", "-c", 'test -r "$1" && { test ! -d "$1" || cd "$1"; }', "sh",
             str(existing)],
            user=account.uid, group=account.gid, extra_groups=[],
            cwd="/", check=False, capture_output=True,
        )
        return probe.returncode == 0


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_ACCOUNT_NAME)
    except KeyError:
        message = f"There is no account `{_ACCOUNT_NAME}` to run PostgreSQL and Elasticsearch as."
        raise SluiceError(message, "Run sluice as an ordinary user instead of root.") from None
    return Account(entry.pw_uid, entry.pw_gid)
