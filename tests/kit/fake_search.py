"""A stand-in for Elasticsearch in memory, as far as exchanging documents asks for it."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

import pytest
from pydantic import SecretStr

from control.lanes import index_pages, swap_indices


class FakeSearch:
    """Indices with their documents; an alias and a mapping mean nothing here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # By index, by id: version and content. Deleted documents keep their version.
        self.indices: dict[str, dict[str, tuple[int, dict[str, Any] | None]]] = {}
        self.meta: dict[str, dict[str, Any]] = {}
        for module in (index_pages, swap_indices):
            monkeypatch.setattr(module, "ask", self.ask)
            monkeypatch.setattr(module, "search", self.search)
        monkeypatch.setattr(swap_indices, "write_bulk", self.bulk)

    def put(self, index: str, number: str, source: dict[str, Any], version: int = 1) -> None:
        """Write a document."""
        self.indices.setdefault(index, {})[number] = version, source

    def there(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return what lies in the indices whose names begin so."""
        return {number: source for index, found in self.indices.items()
                if index.startswith(prefix) for number, (_, source) in found.items()
                if source is not None}

    def ask(  # noqa: PLR0911 - one for each address
        self, method: str, url: SecretStr, path: str, body: Any = None
    ) -> dict[str, Any]:
        """Answer as Elasticsearch does; what is not there is an empty answer."""
        parts = path.partition("?")[0].strip("/").split("/")
        match method, *parts:
            case "POST", _, "_refresh":
                return {}
            case "POST", pattern, "_pit":
                matching = [one for one in self.indices if fnmatchcase(one, pattern)]
                return {"id": pattern} if matching else {}
            case "POST", "_search":
                return self._search(body)
            case "POST", "_mget":
                return {"docs": [{"found": self._has(one["_index"], one["_id"])}
                                 for one in body["docs"]]}
            case "POST", index, "_search":
                return self._planned(index, body)
            case "GET", index, "_mapping":
                return ({index: {"mappings": {"_meta": self.meta[index]}}}
                        if index in self.meta else {})
            case "PUT", index, "_mapping":
                self.meta[index] = body["_meta"]
                return {}
            case "GET", index:
                return {index: {}} if index in self.indices else {}
            case "PUT", index:
                self.indices[index] = {}
                return {}
            case "DELETE", index:
                self.indices.pop(index, None)
                self.meta.pop(index, None)
                return {}
        raise AssertionError((method, path))

    def search(self, url: SecretStr, path: str, body: Any) -> dict[str, Any]:
        """Search as `ask` does: no shard ever fails here."""
        return self.ask("POST", url, path, body)

    def bulk(
        self, url: SecretStr, operations: Iterable[Sequence[Any]]
    ) -> list[dict[str, Any]]:
        """Write and delete; what is newer than an external version stays."""
        return [self._write(*operation) for operation in operations]

    def _write(self, action: dict[str, Any], source: dict[str, Any] | None = None
               ) -> dict[str, Any]:
        [(kind, told)] = action.items()
        documents = self.indices.setdefault(told["_index"], {})
        version = documents.get(told["_id"], (0, None))[0]
        if told.get("version", version) < version:
            return {"status": HTTPStatus.CONFLICT, "error": {"reason": "newer"}, **told}
        documents[told["_id"]] = (told.get("version", version + 1),
                                  None if kind == "delete" else source)
        return {"status": HTTPStatus.OK, **told}

    def _has(self, index: str, number: str) -> bool:
        return self.indices.get(index, {}).get(number, (0, None))[1] is not None

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        [(field, span)] = body["query"]["range"].items()
        hits = [
            {"_id": number, "_index": index, "_version": version, "_source": source,
             "sort": [number, index, 0]}
            for index, found in self.indices.items() if fnmatchcase(index, body["pit"]["id"])
            for number, (version, source) in found.items()
            if source is not None and span["gte"] <= source[field] < span["lt"]
        ]
        return _page(hits, body)

    def _planned(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        return _page([{"_source": source, "sort": [source["number"]]}
                      for _, source in self.indices[index].values() if source is not None], body)


def _page(hits: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    after = body.get("search_after")
    left = sorted((hit for hit in hits if after is None or hit["sort"] > after),
                  key=lambda hit: hit["sort"])
    return {"hits": {"hits": left[:body["size"]]}}
