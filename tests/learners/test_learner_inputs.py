"""Rows as aligned tensors in the order of their keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge.errors import InputError
from expunge.learners.inputs import in_key_order, in_memory, inputs_and_outputs, matrix, numbers
from expunge.learners.learner import one_thread, schema_of, settings_of
from expunge.rows import Rows


def test_a_tensor_is_an_aligned_copy() -> None:
    room = np.arange(9.0)
    for start in range(4):
        tensor = numbers("x", room[start:], torch.float64)
        assert tensor.data_ptr() % 64 == 0
        tensor.zero_()
    assert room.tolist() == list(range(9))


@pytest.mark.parametrize("kind", ["f4", "f8", "i1", "i8", "u1", "u2", "u4", "?", ">f8"])
def test_every_kind_of_number_is_read(kind: str) -> None:
    column = np.array([0, 1, 1]).astype(kind)
    assert numbers("x", column, torch.float32).tolist() == [0.0, 1.0, 1.0]


def test_text_and_what_is_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match=r"'age' holds text.*Pipeline"):
        numbers("age", np.array(["a"], dtype=np.dtypes.StringDType()), torch.float64)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="'age' holds NaN"):
            numbers("age", np.array([0.0, bad]), torch.float64)


def test_rows_come_in_the_order_of_their_keys() -> None:
    table = in_key_order(Rows.of(np.arange(50), [0, 1] * 25))
    assert (np.diff(table.keys.astype(object)) > 0).all()
    assert (table.columns["x"] == table.ids.astype(int)).all()


def test_tables_become_rows_under_the_schema_given() -> None:
    rows = Rows.of(np.arange(6), [0, 1] * 3, classes=4)
    table = rows.table()
    again = in_memory([table.take(slice(0, 2)), table.take(slice(2, 2)), table.take(slice(2, 6))], rows.schema)
    assert (again.classes, len(again)) == (4, 6)
    assert again.ids.tolist() == rows.ids.tolist()


def test_rows_of_x_are_flattened() -> None:
    assert matrix({"x": np.zeros((5, 2, 3))}, torch.float64).shape == (5, 6)
    assert matrix({"x": np.zeros(5)}, torch.float64).shape == (5, 1)
    assert inputs_and_outputs(Rows.of(np.zeros((2, 2, 3)), [0, 1], classes=5).schema) == (6, 5)
    assert inputs_and_outputs(Rows.of(np.zeros(2), [[0.1, 0.2]] * 2).schema) == (1, 2)


def test_a_schema_is_told_by_its_settings_but_for_the_names_of_classes() -> None:
    schema = Rows.of({"x": np.zeros((2, 3)), "mask": [True, False]}, [0, 1], classes=["no", "yes"]).schema
    told = schema_of(settings_of(schema))
    assert (told.columns, told.target, told.classes) == (schema.columns, schema.target, ("0", "1"))
    bare = Rows.of(np.zeros((2, 3))).schema
    assert schema_of(settings_of(bare)) == bare


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
