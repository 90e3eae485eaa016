"""Records survive storage bit for bit, and equal digests mean equal values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge import record
from expunge.certificate import Basis, Certified, Exact, View
from expunge.errors import Corrupt
from expunge.method import Release

CERTIFIED = Certified(1.0, 1e-5, 0.3, 0.01, 0.02, Basis.MEASURED, View.TRANSCRIPT, "learning again", ("a", "b"))


@dataclass(frozen=True)
class Foreign:
    """A record class outside the package."""

    x: int
    y: Any = None


def there_and_back(value: Any, known: dict[str, type] | None = None) -> Any:
    tree, tensors = record.encode(value)
    stored = {name: record.tensor_bytes(tensor) for name, tensor in tensors.items()}
    import safetensors.torch as files

    read = {name: files.load(data)["t"] for name, data in stored.items()}
    return record.decode(json.loads(record.canonical(tree)), read, known)


def by_key(mapping: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(mapping.items()))  # as a stored mapping comes back


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4).map(by_key),
    max_leaves=12,
)


@given(values)
def test_values_survive_storage(value: Any) -> None:
    assert record.digest(there_and_back(value)) == record.digest(value)
    assert repr(there_and_back(value)) == repr(value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([0.0, -0.0, math.nan, math.inf, 5e-324], dtype=torch.float64),
        torch.empty((0, 3)),
        torch.tensor(True),
        torch.arange(12, dtype=torch.int32).reshape(3, 4).T,
        torch.randn(2, requires_grad=True),
    ],
)
def test_tensors_survive_storage_bit_for_bit(tensor: torch.Tensor) -> None:
    back = there_and_back((tensor,))[0]
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert record.tensor_bytes(back) == record.tensor_bytes(tensor)


def test_dataclasses_and_their_enumerations_survive_storage() -> None:
    back = there_and_back(CERTIFIED)
    assert back == CERTIFIED
    assert isinstance(back.basis, Basis)
    assert isinstance(back.view, View)
    assert there_and_back(Exact(("same seed",))) == Exact(("same seed",))


def test_a_release_survives_storage() -> None:
    release = Release({"w": torch.eye(2)}, {"names": ("a", "b"), "k": 2})
    assert record.digest(there_and_back(release)) == record.digest(release)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        ((1, (2,)), ((1, 2),)),
        ({"a": None}, {}),
        (b"\x00", "00"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2, 1), torch.zeros(1, 2)),
        (Foreign(1), Foreign(1, 0)),
        ({"tensor": "x"}, {"bytes": "x"}),
    ],
)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert record.digest(one) != record.digest(other)
    assert record.digest(one) == record.digest(one)


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert record.digest({"a": 1, "b": 2}) == record.digest({"b": 2, "a": 1})


def test_a_known_tensor_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.ones(3)
    tree, tensors = record.encode((tensor, tensor))
    (digest,) = tensors
    monkeypatch.setattr(record, "tensor_digest", lambda _: pytest.fail("hashed again"))
    assert record.encode((tensor, tensor), {id(tensor): digest})[0] == tree


@pytest.mark.parametrize("value", [[1], {1}, object(), {1: 2}, torch.float64, Foreign, 1 + 2j])
def test_what_cannot_be_stored_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot hold|keys of a stored mapping"):
        record.encode((value,))


def test_a_foreign_class_needs_to_be_known() -> None:
    name = f"{__name__}:Foreign"
    with pytest.raises(Corrupt, match="not part of expunge"):
        there_and_back(Foreign(1))
    assert there_and_back(Foreign(1), {name: Foreign}) == Foreign(1)


@pytest.mark.parametrize(
    "tree",
    [
        {"class": "os:system", "fields": {}},
        {"class": "expunge.record:encode", "fields": {}},
        {"class": "expunge.errors:ExpungeError", "fields": {}},
        {"class": "expunge.no_such_module:X", "fields": {}},
        {"class": "expunge.certificate:Exact", "fields": {"wrong": 1}},
        {"enum": "expunge.certificate:Basis", "value": "guessed"},
        {"tensor": "0" * 64},
        {"surprise": 1},
    ],
)
def test_a_corrupted_tree_is_noticed(tree: Any) -> None:
    with pytest.raises(Corrupt):
        record.decode(tree, {})


def test_canonical_bytes_hold_no_spaces_and_sorted_keys() -> None:
    assert record.canonical({"b": 1, "a": [1, 2]}) == b'{"a":[1,2],"b":1}'
