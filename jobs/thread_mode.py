"""What PyFlink does not say of a function's surroundings in thread mode."""

from typing import Any


def is_cancelled() -> bool:
    """Tell whether this task is being cancelled; only thread mode can know."""
    try:
        from pemja import findClass  # noqa: PLC0415 - works only inside a TaskManager
    except ImportError:
        return False
    # Flink's canceller interrupts the task's thread, again and again until it ends.
    return bool(findClass("java.lang.Thread").currentThread().isInterrupted())


def subtask_index(runtime_context: Any) -> int:
    """Return which of the parallel tasks this is."""
    try:
        return int(runtime_context.get_index_of_this_subtask())
    except AttributeError:
        # PyFlink 2.2 still asks thread mode's context for a method that Flink 2 has moved.
        inner = runtime_context._runtime_context  # noqa: SLF001
        return int(inner.getTaskInfo().getIndexOfThisSubtask())
