"""Holding a job: nobody else operates it meanwhile, and a killed holder is in nobody's way."""

import logging
import threading
from types import TracebackType

from pydantic import SecretStr

from control.db.lease import Lease, LeaseLostError, give_back, take_lease
from control.errors import SluiceError
from control.lifecycle.book import Book
from control.lifecycle.run import NotHeldError

_LOG = logging.getLogger(__name__)
# Ends by itself this long after its holder died on another machine.
_SECONDS = 30
_RENEW_SECONDS = 5


class Hold:
    """A lease on a job that is renewed in the background."""

    def __init__(self, dsn: SecretStr, job: str) -> None:
        self._dsn = dsn
        self._name = f"job {job}"
        self._stop = threading.Event()
        self._checks = Book(dsn)
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "Hold":
        with Book(self._dsn) as book:
            self._lease: Lease = book.attempt(
                lambda at: take_lease(at, self._name, _SECONDS, from_the_dead=True)
            )
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._checks.close()
        try:
            with Book(self._dsn, patience_seconds=5) as book:
                book.attempt(lambda at: give_back(at, self._lease))
        except SluiceError as error:
            _LOG.warning("the lease on %s runs out by itself: %s", self._name, error.message)

    def check(self) -> None:
        """Fail when somebody else has taken over; otherwise hold it for a full term from now.

        It asks the database: a command that was paused has missed what happened meanwhile.
        """
        try:
            self._checks.attempt(self._lease.renew)
        except LeaseLostError as error:
            message = f"This command no longer holds the {self._name}: {error.message}"
            hint = "`sluice history` shows what the other one did."
            raise NotHeldError(message, hint) from error

    def _renew(self) -> None:
        with Book(self._dsn, patience_seconds=3600) as book:
            while not self._stop.wait(_RENEW_SECONDS):
                try:
                    book.attempt(self._lease.renew)
                except SluiceError:
                    # Whoever acts next is told.
                    return
