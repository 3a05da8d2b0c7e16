"""Delete archives, and code unpacked from them, that no deployment can need any more."""

import shutil
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from control.lifecycle.deployments import Deployment
from control.lifecycle.ledger import Operation
from control.lifecycle.open import Desk
from control.lifecycle.releases import code_folder
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import DeploymentState

# Of each job the last so many deployments keep their archives, whatever else is gone.
_DEPLOYMENTS_KEPT = 10
# Somebody may just have packed it, and not started it yet.
_YOUNG = timedelta(days=7)
_MOST = 100_000


def needed_archives(
    deployments: Iterable[Deployment], savepoints: Iterable[Savepoint],
    unfinished: Iterable[Operation],
) -> set[str]:
    """Return the hashes of archives that something runs from, or can be rolled back to."""
    restorable = {one.deployment for one in savepoints}
    seen: dict[str, int] = {}
    needed = {str(one.plan["release"]["archive"]) for one in unfinished if "release" in one.plan}
    for one in sorted(deployments, key=lambda one: -one.number):
        place = seen[one.release.job] = seen.get(one.release.job, 0) + 1
        runs = one.state in {DeploymentState.LIVE, DeploymentState.STARTING}
        if runs or place <= _DEPLOYMENTS_KEPT or one.number in restorable:
            needed.add(one.release.archive)
    return needed


def clear_out(desk: Desk, say: Callable[[str], None]) -> None:
    """Delete what is not needed and not young."""
    place = desk.place
    needed = needed_archives(
        place.deployments.all(None, _MOST), place.savepoints.all(None, _MOST, there_only=True),
        place.ledger.all_unfinished(),
    )
    oldest = datetime.now(UTC) - _YOUNG
    for archive in desk.store.list():
        if archive.hash not in needed and archive.at < oldest:
            desk.store.delete(archive.hash)
            say(f"archive {archive.hash[:12]} is deleted: no deployment needs it")
    _clear_code(code_folder(desk.settings), needed)


def _clear_code(folder: Path, needed: Collection[str]) -> None:
    oldest = time.time() - _YOUNG.total_seconds()
    # Somebody else may clear out at the same time.
    with suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            if path.name not in needed and path.is_dir() and path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
