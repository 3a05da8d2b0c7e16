"""How git stands to the registry, and what registering does; over a registry in memory."""

import copy

import httpx
import pytest
from pydantic import SecretStr

from control.errors import SluiceError
from control.registry import (
    COMPATIBILITY,
    RegistryAwayError,
    RegistryClient,
    RegistryRefusedError,
)
from control.schema.check import check_registered
from control.schema.files import Family
from control.schema.registration import Standing, State, look, look_at_others, plan, register
from tests.unit.schema_kit import FakeRegistry, Schema, field, record, version

ONE = record(field("a", "int"))
TWO = record(field("a", "int"), field("b", "int", default=1))
THREE = record(field("a", "long"), field("b", "int", default=1))
SUBJECT = "test.Thing"


def family(*schemas: Schema) -> Family:
    return Family("thing", tuple(version(number, schema)
                                 for number, schema in enumerate(schemas, 1)))


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def standing(registry: RegistryClient, *schemas: Schema) -> Standing:
    (found,) = look(registry, [family(*schemas)])
    return found


def rules(registry: RegistryClient, found: Standing) -> list[str]:
    return [finding.rule for finding in check_registered(registry, [found])]


def test_registering_brings_what_is_missing_in_order(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE)
    found = standing(registry, ONE, TWO, THREE)
    assert found.state is State.NOT_REGISTERED
    assert [entry.version for entry in plan([found])] == [2, 3]
    assert registry.posted == []
    done = register(registry, [found])
    assert [(entry.version, entry.id) for entry in done] == [(2, 102), (3, 103)]
    assert [schema for _, schema in registry.posted] == [TWO, THREE]


def test_repeating_changes_nothing(registry: FakeRegistry) -> None:
    register(registry, [standing(registry, ONE, TWO)])
    registry.posted.clear()
    found = standing(registry, ONE, TWO)
    assert found.state is State.IN_STEP
    assert register(registry, [found]) == []
    assert registry.posted == []
    assert rules(registry, found) == []


def test_each_registration_is_reported_before_the_next(registry: FakeRegistry) -> None:
    told: list[int] = []
    register(registry, [standing(registry, ONE, TWO)],
             lambda _: told.append(len(registry.posted)))
    assert told == [1, 2]


@pytest.mark.parametrize("weak", ["NONE", "BACKWARD", "FORWARD", "FULL"])
def test_a_weaker_rule_is_replaced_for_the_subject_alone(
    registry: FakeRegistry, weak: str
) -> None:
    registry.rules[None] = weak
    register(registry, [standing(registry, ONE)])
    assert registry.rules == {None: weak, SUBJECT: COMPATIBILITY}


def test_a_stricter_rule_is_left_alone(registry: FakeRegistry) -> None:
    registry.rules[SUBJECT] = "FULL_TRANSITIVE"
    register(registry, [standing(registry, ONE)])
    assert registry.rules[SUBJECT] == "FULL_TRANSITIVE"


def test_a_file_that_was_edited_after_it_was_registered(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE, TWO)
    edited = record(field("a", "int"), field("b", "int", default=1), field("c", default=""))
    found = standing(registry, ONE, edited)
    assert found.state is State.DIFFERS
    (finding,) = check_registered(registry, [found])
    assert finding.rule == "registered-versions-stay"
    assert finding.message == (
        "v2.avsc was edited after it was registered (id 102): field c added (optional)")
    assert "new version" in finding.remedy


def test_an_edit_that_would_not_resolve_is_compared_with_the_registered_one(
    registry: FakeRegistry
) -> None:
    registry.hold(SUBJECT, ONE)
    found = standing(registry, record(field("a")))
    assert rules(registry, found) == ["registered-versions-stay", "types-only-widen"]


def test_an_alias_that_was_edited_in_is_an_edit(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE)
    found = standing(registry, record(field("a", "int", aliases=["z"])))
    assert rules(registry, found) == ["registered-versions-stay"]


def test_words_for_people_may_be_edited(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE)
    edited = {**copy.deepcopy(ONE), "doc": "better words"}
    edited["fields"][0]["doc"] = "better words"
    found = standing(registry, edited)
    assert found.state is State.IN_STEP
    assert rules(registry, found) == []


def test_a_registered_version_that_is_not_in_git(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE, TWO)
    found = standing(registry, ONE)
    assert found.state is State.DIFFERS
    (finding,) = check_registered(registry, [found])
    assert "a version 2 that is not in git" in finding.message
    assert f"sluice schema show {SUBJECT} --version 2 --json" in finding.remedy


def test_a_version_that_is_older_than_a_registered_one(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, THREE)
    found = standing(registry, ONE, TWO, THREE)
    assert found.state is State.DIFFERS
    assert set(rules(registry, found)) == {"registered-versions-stay"}


def test_numbers_may_differ_where_contents_agree(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, record(field("other")), ONE, TWO)
    # Somebody deleted the first one: the registry goes on counting.
    del registry.held[SUBJECT][0]
    assert standing(registry, ONE, TWO).state is State.IN_STEP


def test_the_registry_is_the_second_judge(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE)
    registry.refuses.add(SUBJECT)
    (finding,) = check_registered(registry, [standing(registry, ONE, TWO)])
    assert (finding.rule, finding.version) == ("the-registry-accepts-it", "v2")


def test_a_refusal_at_the_door_is_an_error(registry: FakeRegistry) -> None:
    registry.refuses.add(SUBJECT)
    with pytest.raises(RegistryRefusedError):
        register(registry, [standing(registry, ONE)])


def test_what_is_only_in_the_registry_is_seen(registry: FakeRegistry) -> None:
    registry.hold(SUBJECT, ONE)
    registry.hold("test.Other", record(field("a"), name="Other"))
    (found,) = look_at_others(registry, [family(ONE)])
    assert (found.subject, found.state) == ("test.Other", State.ONLY_IN_REGISTRY)
    assert rules(registry, found) == []
    assert register(registry, [found]) == []


class Answering(RegistryClient):
    """A client of the real class with one answer to everything."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(SecretStr("http://me:hush@registry.test/api/"))
        self.asked: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            return httpx.Response(status, text=text)

        self._client = httpx.Client(transport=httpx.MockTransport(answer))


NOT_FOUND = '{"error_code": 40401, "message": "Subject not found."}'


def test_what_is_not_known_is_no_error() -> None:
    client = Answering(404, NOT_FOUND)
    assert client.versions("a/b") == []
    assert client.asked[0].url.raw_path == b"/api/subjects/a%2Fb/versions"
    assert client.schema_by_id(7) is None


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_registry_that_is_not_well_is_away(status: int) -> None:
    with pytest.raises(RegistryAwayError, match=f"not well: {status}"):
        Answering(status, "<html>").subjects()


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (404, "<html>"), (404, "[]"),
                                              (401, '"who?"'), (404, "")])
def test_another_server_is_neither_away_nor_a_registry(status: int, text: str) -> None:
    with pytest.raises(SluiceError, match="no registry") as caught:
        Answering(status, text).versions("x")
    assert not isinstance(caught.value, RegistryAwayError | RegistryRefusedError)
    assert "SLUICE_REGISTRY_URL" in caught.value.hint
    assert "hush" not in caught.value.message


def test_a_refusal_carries_the_registry_s_words() -> None:
    with pytest.raises(RegistryRefusedError, match="Incompatible artifact") as caught:
        Answering(409, '{"error_code": 409, "message": "Incompatible artifact"}').register("x", {})
    assert caught.value.status == 409


def test_a_schema_of_another_kind_is_an_empty_one() -> None:
    text = '{"subject": "p", "version": 1, "id": 3, "schemaType": "PROTOBUF", "schema": "x {}"}'
    assert Answering(200, text).version("p", 1).schema == {}
    assert Answering(200, text).schema_by_id(3) == {}
