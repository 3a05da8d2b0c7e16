"""Writing into a store at a person's command: one that stays away becomes an error, soon."""

from collections.abc import Iterator
from contextlib import contextmanager

from control.errors import SluiceError
from control.settings import Settings
from udfs.patience import AwayError
from udfs.schema_store import RegistryAwayError

# As long as a person waits for a store that starts again.
_PATIENCE_MINUTES = 0.5


def impatient(settings: Settings) -> Settings:
    """Return settings whose writers wait for a store only as long as a person does."""
    minutes = min(_PATIENCE_MINUTES, settings.sink_stall_minutes)
    return settings.model_copy(update={"sink_stall_minutes": minutes})


@contextmanager
def away_is_told(store: str) -> Iterator[None]:
    """Turn a store that stays away into an error for a person."""
    try:
        yield
    except (AwayError, RegistryAwayError) as error:
        message = f"{store} cannot be written to: {error}"
        hint = "Run the command again when it is back: nothing is doubled."
        raise SluiceError(message, hint) from error
