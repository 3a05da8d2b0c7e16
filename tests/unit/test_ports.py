"""Which ports a stack gets."""

import json
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import SluiceError
from control.stack.ports import HOST, Moved, PortAllocator, is_free

Ports = dict[str, dict[str, int]]


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    return tmp_path / "claims.json"


def none_runs(_: str) -> bool:
    return False


def all_but(taken: Collection[int]) -> Callable[[int], bool]:
    return lambda port: port not in taken


def choose(
    claims: Path, wanted: Ports, remembered: Ports, *, taken: Collection[int] = (),
    owner: str = "me", running: Collection[str] = (),
) -> list[Moved]:
    allocator = PortAllocator(owner, all_but(taken), claims)
    return allocator.choose(wanted, remembered, lambda name: name in running)


def test_the_usual_port_is_taken_where_it_is_free(claims: Path) -> None:
    ports: Ports = {}
    assert choose(claims, {"kafka": {"broker": 9092}}, ports) == []
    assert ports == {"kafka": {"broker": 9092}}


def test_a_taken_port_moves_to_the_next_and_says_so(claims: Path) -> None:
    ports: Ports = {}
    moved = choose(claims, {"kafka": {"broker": 9092}}, ports, taken={9092, 9093})
    assert moved == [Moved("kafka", "broker", 9092, 9094)]
    assert ports == {"kafka": {"broker": 9094}}


def test_a_moved_port_avoids_those_of_the_other_purposes(claims: Path) -> None:
    ports: Ports = {"kafka": {"broker": 9092, "controller": 9093}}
    choose(claims, {"kafka": {"broker": 9092, "controller": 9093}}, ports, taken={9092})
    assert ports == {"kafka": {"broker": 9094, "controller": 9093}}


def test_a_remembered_port_stays_when_the_usual_one_is_free_again(claims: Path) -> None:
    ports: Ports = {"redis": {"redis": 6381}}
    assert choose(claims, {"redis": {"redis": 6379}}, ports) == []
    assert ports == {"redis": {"redis": 6381}}


def test_a_remembered_port_that_is_taken_by_now_moves(claims: Path) -> None:
    ports: Ports = {"redis": {"redis": 6381}}
    choose(claims, {"redis": {"redis": 6379}}, ports, taken={6379, 6381})
    assert ports == {"redis": {"redis": 6380}}


def test_a_running_server_keeps_the_port_that_it_listens_on(claims: Path) -> None:
    ports: Ports = {"redis": {"redis": 6379}}
    moved = choose(claims, {"redis": {"redis": 6379}}, ports, taken={6379}, running={"redis"})
    assert moved == []
    assert ports == {"redis": {"redis": 6379}}


def test_two_owners_at_once_get_different_ports(claims: Path) -> None:
    mine: Ports = {}
    yours: Ports = {}
    choose(claims, {"kafka": {"broker": 9092}}, mine, owner="me")
    moved = choose(claims, {"kafka": {"broker": 9092}}, yours, owner="you")
    assert mine == {"kafka": {"broker": 9092}}
    assert yours == {"kafka": {"broker": 9093}}
    assert moved == [Moved("kafka", "broker", 9092, 9093)]


def test_a_claim_of_ones_own_is_no_obstacle(claims: Path) -> None:
    for _ in range(2):
        ports: Ports = {}
        assert choose(claims, {"kafka": {"broker": 9092}}, ports) == []


def test_an_expired_claim_counts_no_more(claims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(claims, {"kafka": {"broker": 9092}}, {}, owner="you")
    later = time.time() + 121
    monkeypatch.setattr(time, "time", lambda: later)
    ports: Ports = {}
    choose(claims, {"kafka": {"broker": 9092}}, ports)
    assert ports == {"kafka": {"broker": 9092}}


def test_a_claim_from_the_future_counts_no_more(claims: Path) -> None:
    # The clock was set back: such a claim would hold for ever.
    claims.write_text(json.dumps({"9092": {"owner": "you", "time": time.time() + 3600}}))
    ports: Ports = {}
    choose(claims, {"kafka": {"broker": 9092}}, ports)
    assert ports == {"kafka": {"broker": 9092}}


def test_expired_claims_do_not_pile_up(claims: Path) -> None:
    old = {str(port): {"owner": "you", "time": 0} for port in range(9)}
    claims.write_text(json.dumps(old))
    choose(claims, {"kafka": {"broker": 9092}}, {})
    assert list(json.loads(claims.read_text())) == ["9092"]


@pytest.mark.parametrize("content", [
    "", "{", "[]", "null", '"text"', '{"9092": 7}', '{"9092": {"time": 1}}',
    '{"9092": {"owner": "you"}}', '{"9092": {"owner": "you", "time": "noon"}}', "\xff",
])
def test_a_corrupt_claims_file_is_started_anew(claims: Path, content: str) -> None:
    claims.write_bytes(content.encode("latin-1"))
    ports: Ports = {}
    assert choose(claims, {"kafka": {"broker": 9092}}, ports) == []
    assert list(json.loads(claims.read_text())) == ["9092"]


def test_a_claims_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SluiceError, match="folder cannot be written"):
        choose(folder, {"kafka": {"broker": 9092}}, {})


def test_no_free_port_is_a_clear_error(claims: Path) -> None:
    with pytest.raises(SluiceError, match=r"No free port for kafka between 9092 and \d+") as caught:
        choose(claims, {"kafka": {"broker": 9092}}, {}, taken=range(65_536))
    assert "ss -ltnp" in caught.value.hint


def test_a_search_stays_below_the_range_of_outgoing_connections(claims: Path) -> None:
    tried: list[int] = []

    def never_free(port: int) -> bool:
        tried.append(port)
        return False

    with pytest.raises(SluiceError):
        PortAllocator("me", never_free, claims).choose({"jobmanager": {"a": 9250}}, {}, none_runs)
    assert tried == list(range(9250, 9650))


def test_a_failed_search_claims_nothing(claims: Path) -> None:
    with pytest.raises(SluiceError):
        choose(claims, {"kafka": {"broker": 9092}}, {}, taken=range(65_536))
    ports: Ports = {}
    choose(claims, {"kafka": {"broker": 9092}}, ports, owner="you")
    assert ports == {"kafka": {"broker": 9092}}


# Few usual ports and many taken ones, so that they get in each other's way.
WANTED = st.dictionaries(
    st.sampled_from("abcd"),
    st.dictionaries(st.sampled_from("xyz"), st.integers(9000, 9004), min_size=1),
    min_size=1,
)


@given(wanted=WANTED, first=st.sets(st.integers(9000, 9010)),
       second=st.sets(st.integers(9000, 9010)))
def test_all_ports_are_free_and_different_whatever_is_taken(
    tmp_path_factory: pytest.TempPathFactory, wanted: Ports, first: set[int], second: set[int]
) -> None:
    claims = tmp_path_factory.getbasetemp() / "property-claims.json"
    claims.unlink(missing_ok=True)
    ports: Ports = {}
    for taken in (first, second):
        before = {name: dict(purposes) for name, purposes in ports.items()}
        moved = choose(claims, wanted, ports, taken=taken)
        flat = [port for purposes in ports.values() for port in purposes.values()]
        assert len(flat) == len(set(flat)) == sum(map(len, wanted.values()))
        assert not taken & set(flat)
        for move in moved:
            assert ports[move.component][move.purpose] == move.chosen != move.usual
        for name, purposes in before.items():
            for purpose, port in purposes.items():
                assert ports[name][purpose] == port or port in taken


def test_a_listening_socket_makes_a_port_taken() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_a_listener_on_all_addresses_makes_a_port_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - what other people's servers do
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_a_port_is_free_right_after_its_server_has_gone() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            served, _ = listener.accept()
            # The side that closes first is left in TIME_WAIT, as a stopped server is.
            served.close()
            assert client.recv(1) == b""
    assert is_free(port)


def test_is_free_leaves_nothing_behind() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    assert is_free(port)
    assert is_free(port)
