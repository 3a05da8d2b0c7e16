"""Whether state that one version kept can be read by another."""

from jobs.spec import JobSpec


def fits(wrote: JobSpec, reads: JobSpec) -> str | None:
    """Return why the second cannot go on from the state of the first, or None when it can."""
    if wrote.mode != reads.mode:
        return (f"it was written in {wrote.mode} mode and would be read in {reads.mode} mode,"
                " where it is not found")
    if wrote.max_parallelism != reads.max_parallelism:
        return (f"it was written with a maximum parallelism of {wrote.max_parallelism},"
                f" not {reads.max_parallelism}")
    known = {part.uid: part for part in reads.state}
    for part in wrote.state:
        other = known.get(part.uid)
        if other is None:
            return f"{part.uid} ({part.what}) has no place in it"
        if part.form not in {other.form, *other.reads}:
            return f"{part.uid} is kept as {part.form}, which it cannot read ({other.form})"
    return None


def misses(wrote: JobSpec, reads: JobSpec) -> str | None:
    """Return which state of the second the first did not keep: it would begin empty."""
    known = {part.uid for part in wrote.state}
    return next((f"{part.uid} ({part.what}) is not in it and would begin empty"
                 for part in reads.state if part.uid not in known), None)
