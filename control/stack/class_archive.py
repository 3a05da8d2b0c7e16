"""Keep the loaded classes of a Java server for its next start, which then takes much less CPU.

Two cores start eight Java processes at once, so CPU is what a start costs: with an archive a half
for the registry, two thirds for the others. The JVM writes the archive when it ends; it counts only
once the server has ended by itself, and the JVM ignores an archive that does not fit its version or
jars. It is for jars on the class path alone, never for modules: see Elasticsearch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.stack.component import StackContext
from control.stack.java import Java


@dataclass(frozen=True)
class ClassArchive:
    """The archive of one kind of server, and where one server writes a new one."""

    kind: str
    java: Java
    jars: Sequence[Path]
    folder: Path
    draft: Path

    @property
    def file(self) -> Path:
        """The archive; its name tells what it was made from."""
        text = "\n".join([self.java.version, str(self.java.home), *map(str, self.jars)])
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.folder / f"{self.kind}-{digest}.jsa"

    def options(self) -> tuple[str, ...]:
        """Return the Java options that use the archive, or that make one."""
        quiet = ("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
        if self.file.exists():
            return (f"-XX:SharedArchiveFile={self.file}", *quiet)
        return (f"-XX:ArchiveClassesAtExit={self.draft}", *quiet)

    def keep(self) -> None:
        """Make what a server that has just ended by itself wrote the archive to use."""
        if self.draft.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # The cache may lie on another disk, where a rename is no single step.
            copy = self.file.with_name(f".{self.file.name}.{self.draft.stem}")
            copy.write_bytes(self.draft.read_bytes())
            copy.replace(self.file)
            self.draft.unlink()


def shared_archive(
    context: StackContext, kind: str, component: str, java: Java, jars: Sequence[Path]
) -> ClassArchive:
    """Return the archive that all stacks of this cache share."""
    return ClassArchive(
        kind, java, jars, folder=context.settings.cache_dir / "class-archives",
        draft=context.home.run / f"{component}.jsa",
    )
