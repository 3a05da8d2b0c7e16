"""What would mend a letter, by its reason."""

from udfs.reasons import Reason

_PRODUCER = "Mend the producer and let it send the event anew; discard this letter."

_ADVICE = {
    Reason.EMPTY: _PRODUCER,
    Reason.TOO_LARGE:
        "Raise SLUICE_INGEST_MAX_BYTES, deploy ingest again and replay; or mend the producer.",
    Reason.NOT_WIRE_FORMAT:
        "The producer writes without the registry. " + _PRODUCER,
    Reason.UNKNOWN_SCHEMA:
        "Register the schema (`sluice schema register`) and replay, if it gets this id. If the"
        " producer uses another registry, point it at this one and discard.",
    Reason.UNUSABLE_SCHEMA:
        "Let the producer use a schema that passes `sluice schema check`, and discard.",
    Reason.WRONG_RECORD:
        "If it is a new domain's event, add the domain (schemas/domains.toml), deploy ingest and"
        " replay. Otherwise the producer sends to the wrong topic: discard.",
    Reason.UNDECODABLE:
        "The bytes are damaged, or were written with another schema than they name. " + _PRODUCER,
    Reason.MISSING_FIELD: _PRODUCER,
    Reason.BAD_UUID: _PRODUCER,
    Reason.TOO_OLD:
        "If events this old are wanted, raise SLUICE_INGEST_MAX_AGE_DAYS, deploy ingest and"
        " replay; otherwise discard.",
    Reason.TOO_FAR_AHEAD:
        "Replay when its time has come, or raise SLUICE_INGEST_MAX_AHEAD_MINUTES, deploy ingest"
        " and replay. A producer with a wrong clock must be mended.",
    Reason.BAD_AMOUNT: _PRODUCER,
    Reason.UNKNOWN_EVENT_TYPE:
        "If the type is new, add it to event_types in schemas/domains.toml, deploy ingest and"
        " replay; otherwise mend the producer and discard.",
    Reason.REFUSED: "Mend the table or the mapping that refuses it, and replay.",
    Reason.EXPIRED:
        "Raise the retention of the store (SLUICE_SEARCH_KEEP_DAYS) and replay; or discard.",
}


def described(reason: str) -> str:
    """Return what a reason means."""
    known = _known(reason)
    return "not known to this version of sluice" if known is None else known.description


def advice(reason: str) -> str:
    """Return what would mend a letter."""
    known = _known(reason)
    return "Update sluice: this reason is newer." if known is None else _ADVICE[known]


def _known(reason: str) -> Reason | None:
    try:
        return Reason(reason)
    except ValueError:
        return None
