"""What `ingest` has committed since a moment: clean events, and dead letters by reason."""

from collections import Counter
from collections.abc import Callable

from control.events.decoding import Decoding
from control.events.reader import Reader, open_reader
from control.registry import RegistryClient
from control.settings import Settings

_CLEAN, _LETTERS = "events.clean", "events.dlq"


class Arrivals:
    """Counts what arrives from the moment it is made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.clean = 0
        self.reasons: Counter[str] = Counter()
        with open_reader(settings.kafka_bootstrap) as reader:
            self._read_to = {topic: _ends(reader, topic) for topic in (_CLEAN, _LETTERS)}

    @property
    def letters(self) -> int:
        """How many dead letters there are."""
        return self.reasons.total()

    def update(self) -> None:
        """Count what was committed since the last time."""
        with RegistryClient(self._settings.registry_url) as registry:
            decoding = Decoding(registry.schema_by_id)
            with open_reader(self._settings.kafka_bootstrap) as reader:
                self._take(reader, _CLEAN, self._count_clean)
                self._take(reader, _LETTERS, lambda value: self._count_letter(decoding, value))

    def _take(self, reader: Reader, topic: str, count: Callable[[bytes | None], None]) -> None:
        ends = _ends(reader, topic)
        spans = {part: (self._read_to[topic].get(part, 0), end) for part, end in ends.items()}
        for record in reader.between(topic, spans):
            count(record.value)
        self._read_to[topic] = ends

    def _count_clean(self, _value: bytes | None) -> None:
        self.clean += 1

    def _count_letter(self, decoding: Decoding, value: bytes | None) -> None:
        body = decoding.decode(value).fields or {}
        self.reasons[str(body.get("reason", "unreadable"))] += 1


def _ends(reader: Reader, topic: str) -> dict[int, int]:
    return {part: end for part, (_, end) in reader.spans(topic).items()}
