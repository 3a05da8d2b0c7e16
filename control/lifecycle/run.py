"""Steps that outlive a kill: what is meant is written down first, what came of it afterwards.

To resume is to run the same operation again: a step that is done gives its result, one that was
only meant is acted out again from the same intention, which must be harmless, and one that failed
fails again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from control.errors import SluiceError
from control.flink import FlinkAwayError
from control.lifecycle.book import BookAwayError
from control.lifecycle.ledger import Operation, Steps
from control.lifecycle.words import Step
from control.lifecycle.workplace import Guard

Say = Callable[[str], None]
# Told each moment at which a test may want the command to die.
Fault = Callable[[str], None]
Content = Mapping[str, Any]


class StepFailedError(SluiceError):
    """A step did not succeed; the operation knows what to do about it."""

    def __init__(self, step: Step, result: Content) -> None:
        super().__init__(str(result.get("error", "no word")), str(result.get("hint", "")))
        self.step = step
        self.result = result


class NotOverError(SluiceError):
    """A command cannot go on, and the step is not over: to resume is to go on with it."""


class NotHeldError(NotOverError):
    """Somebody else operates the job now: nothing more is done, nothing more is written down."""


class Run:
    """One operation under way."""

    def __init__(
        self, operation: Operation, steps: Steps, guard: Guard, say: Say, fault: Fault
    ) -> None:
        self.operation = operation
        self.say = say
        self._steps = steps
        self._guard = guard
        self._fault = fault
        self._known = {row.step: row for row in steps.steps(operation.number)}

    def knows(self, step: Step) -> bool:
        """Tell whether a step was begun, now or before."""
        return step in self._known

    def has_done(self, step: Step) -> bool:
        """Tell whether a step succeeded, now or before."""
        return step in self._known and self._known[step].state == "done"

    def step(
        self, step: Step, mean: Callable[[], Content], act: Callable[[Content], Content]
    ) -> Content:
        """Do a step, or return what came of it before."""
        number = self.operation.number
        row = self._known.get(step)
        if row is None:
            self._guard.check()
            meant = mean()
            self._steps.intend(number, step, meant)
            self._refresh()
            self._fault(f"{step}-intended")
        elif row.state == "done":
            return row.result or {}
        elif row.state == "failed":
            raise StepFailedError(step, row.result or {})
        else:
            meant = row.intention
            self.say(f"{step}: taken up again")
        return self._act(step, meant, act)

    def fail(self, step: Step, reason: str) -> None:
        """Write down that a step is not to be done any more; it fails from now on."""
        if step in self._known and self._known[step].state == "failed":
            # Why it failed is worth more.
            return
        if step not in self._known:
            self._steps.intend(self.operation.number, step, {})
        self._steps.end_step(self.operation.number, step, {"error": reason}, good=False)
        self._refresh()

    def _act(self, step: Step, meant: Content, act: Callable[[Content], Content]) -> Content:
        number = self.operation.number
        try:
            result = act(meant)
        except (FlinkAwayError, BookAwayError, NotOverError):
            raise
        except SluiceError as error:
            self._guard.check()
            failed = {"error": error.message, "hint": error.hint,
                      **(error.result if isinstance(error, StepFailedError) else {})}
            self._steps.end_step(number, step, failed, good=False)
            self._refresh()
            self._fault(f"{step}-failed")
            raise StepFailedError(step, failed) from error
        self._fault(f"{step}-acted")
        self._guard.check()
        self._steps.end_step(number, step, result, good=True)
        self._refresh()
        self._fault(f"{step}-done")
        return result

    def _refresh(self) -> None:
        self._known = {row.step: row for row in self._steps.steps(self.operation.number)}
