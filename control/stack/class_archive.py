"""Keep the loaded classes of a Java server for its next start, which then takes a third less CPU.

Two cores start nine Java processes at once, so CPU is what a start costs. The JVM writes the
archive when it ends; it counts only once the server has ended by itself, and the JVM ignores an
archive that does not fit its version or jars.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from control.stack.component import StackContext
from control.stack.java import Java


def archive_options(
    context: StackContext, kind: str, component: str, java: Java, jars: Sequence[Path]
) -> tuple[str, ...]:
    """Return the Java options that use an archive, or that make one."""
    final = _final(context, kind, java, jars)
    quiet = ("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    if final.exists():
        return (f"-XX:SharedArchiveFile={final}", *quiet)
    return (f"-XX:ArchiveClassesAtExit={_draft(context, component)}", *quiet)


def keep_archive(
    context: StackContext, kind: str, component: str, java: Java, jars: Sequence[Path]
) -> None:
    """Make the archive of a server that has just ended by itself the one to use."""
    draft, final = _draft(context, component), _final(context, kind, java, jars)
    if draft.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        # The cache may lie on another disk, where a rename is no single step.
        copy = final.with_name(f".{final.name}.{component}")
        copy.write_bytes(draft.read_bytes())
        copy.replace(final)
        draft.unlink()


def _draft(context: StackContext, component: str) -> Path:
    return context.home.run / f"{component}.jsa"


def _final(context: StackContext, kind: str, java: Java, jars: Sequence[Path]) -> Path:
    text = "\n".join([java.version, str(java.home), *map(str, jars)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return context.settings.cache_dir / "class-archives" / f"{kind}-{digest}.jsa"
