"""Files become rows without surprises, and what cannot be read is said with its remedy."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expunge.errors import DuplicateRows, InputError, SchemaError
from expunge.load import (
    frame_of,
    rows_from_csv,
    rows_from_file,
    rows_from_frame,
    rows_from_images,
    rows_from_npz,
    rows_from_parquet,
)
from expunge.rows import Rows
from expunge.schema import check_schema

CSV = """name,owner,age,job,code,smoker,income
007,u1,31,None,1,True,<=50K
8,u2,,clerk,2,False,>50K
9,u1,47.5,,3,True,<=50K
"""
CLASSES = ["<=50K", ">50K"]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    return path


def people(csv: Path, **how: Any) -> Rows:
    return rows_from_file(csv, **({"target": "income", "id": "name", "subject": "owner", "classes": CLASSES} | how))


def test_csv_columns_keep_their_meaning(csv: Path) -> None:
    rows = people(csv)
    columns = rows.columns
    assert rows.ids.tolist() == ["007", "8", "9"]
    assert rows.table().subjects.tolist() == ["u1", "u2", "u1"]  # type: ignore[union-attr]
    assert columns["job"].tolist() == ["None", "clerk", ""]
    assert np.isnan(columns["age"][1])
    assert columns["age"][[0, 2]].tolist() == [31, 47.5]
    assert columns["code"].tolist() == [1, 2, 3]
    assert columns["smoker"].tolist() == [1, 0, 1]
    assert rows.y.tolist() == [0, 1, 0]
    assert rows.schema.classes == ("<=50K", ">50K")
    assert rows.of_subjects(["u1"]).ids.tolist() == ["007", "9"]


def test_compressed_tab_separated_and_spaced_files_read_the_same(csv: Path, tmp_path: Path) -> None:
    plain = people(csv)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    tabs = tmp_path / "people.tsv"
    tabs.write_text(CSV.replace(",", "\t"))
    spaced = tmp_path / "people.data"
    spaced.write_text(CSV.replace(",", ", "))
    for path in (packed, tabs, spaced):
        assert_same(people(path), plain)


def test_ids_default_to_places(csv: Path) -> None:
    assert people(csv, id=None, subject=None, ignore=["owner"]).ids.tolist() == ["0", "1", "2"]


def assert_same(a: Rows, b: Rows) -> None:
    assert a.schema == b.schema
    assert a.ids.tolist() == b.ids.tolist()
    for name, column in a.columns.items():
        assert np.array_equal(column, b.columns[name], equal_nan=column.dtype.kind == "f"), name
    if a.schema.target is not None:
        assert np.array_equal(a.y, b.y)


def test_parquet_and_json_lines_read_as_the_frame(csv: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(csv, keep_default_na=False, na_values=[""], dtype={"name": "str"})
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_json(tmp_path / "p.jsonl", lines=True, orient="records")
    expected = people(csv)
    assert_same(people(tmp_path / "p.parquet"), expected)
    assert_same(people(tmp_path / "p.jsonl"), expected)
    assert len(rows_from_parquet(tmp_path / "p.parquet", id="name")) == 3


def test_text_targets_need_declared_classes(csv: Path) -> None:
    with pytest.raises(SchemaError, match=r"target is text \('<=50K', '>50K'\).*classes=\['<=50K', '>50K'\]"):
        people(csv, classes=None)
    with pytest.raises(SchemaError, match=r"holds '<=50K'; the classes declared are \['poor', '>50K'\]"):
        people(csv, classes=["poor", ">50K"])


def test_at_most_five_values_of_a_target_are_shown() -> None:
    frame = pd.DataFrame({"a": range(9), "y": list("abcdefghi")})
    with pytest.raises(SchemaError, match=r"'e' and 4 more\)"):
        rows_from_frame(frame, target="y")


def test_wrong_columns_are_listed_with_a_suggestion(csv: Path) -> None:
    with pytest.raises(SchemaError, match=r"no column 'incme'.*'income'\]\. Did you mean 'income'\?"):
        people(csv, target="incme")
    for argument in ("id", "subject"):
        with pytest.raises(SchemaError, match="no column 'zzz'"):
            people(csv, **{argument: "zzz"})
    with pytest.raises(SchemaError, match="no column 'zzz'"):
        people(csv, ignore=["zzz"])


@pytest.mark.parametrize("text", [True, False])
def test_a_missing_target_names_its_rows(text: bool) -> None:
    y: list[Any] = ["a", None, "b"] if text else [0.0, np.nan, 1.0]
    frame = pd.DataFrame({"k": ["r1", "r2", "r3"], "x": [1, 2, 3], "y": y})
    with pytest.raises(InputError, match=r"missing in 1 row\(s\), ids 'r2'"):
        rows_from_frame(frame, target="y", id="k", classes=["a", "b"] if text else None)


def test_an_infinite_target_is_an_error() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        rows_from_frame(pd.DataFrame({"x": [1, 2], "y": [0.0, np.inf]}), target="y")


def test_an_empty_id_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,x\na,1\n,2\n")
    with pytest.raises(InputError, match=r"'id' names rows and is empty in 1 of them, at places \[1\]"):
        rows_from_csv(tmp_path / "p.csv", id="id")


def test_duplicate_ids_are_an_error() -> None:
    with pytest.raises(DuplicateRows, match="'1'"):
        rows_from_frame(pd.DataFrame({"id": [1, 1], "x": [1.0, 2.0]}), id="id")


def test_whole_floating_ids_lose_their_point() -> None:
    rows = rows_from_frame(pd.DataFrame({"id": [1.0, 2.0], "x": [1.0, 2.0]}), id="id")
    assert rows.ids.tolist() == ["1", "2"]
    with pytest.raises(InputError, match="fractions"):
        rows_from_frame(pd.DataFrame({"id": [1.5, 2.0], "x": [1.0, 2.0]}), id="id")


@pytest.mark.parametrize(
    ("y", "classes", "codes", "names"),
    [
        ([0, 1, 1], None, [0, 1, 1], ("0", "1")),
        ([False, True, True], None, [0, 1, 1], ("0", "1")),
        ([0.0, 1.0, 1.0], None, [0.0, 1.0, 1.0], ()),
        ([0.0, 1.0, 1.0], 2, [0, 1, 1], ("0", "1")),
        ([0, 1, 1], 3, [0, 1, 1], ("0", "1", "2")),
        ([0, 1, 1], 0, [0.0, 1.0, 1.0], ()),
        ([2, 1, 1], ["1", "2"], [1, 0, 0], ("1", "2")),
        ([1, 1, 1], ["1", "2", "3"], [0, 0, 0], ("1", "2", "3")),
        ([1.0, 2.0, 2.0], ["1", "2", "3"], [0, 1, 1], ("1", "2", "3")),
        ([0.5, -0.5, 0.5], ["-0.5", "0.5"], [1, 0, 1], ("-0.5", "0.5")),
        ([0, 1, 1], ["no", "yes"], [0, 1, 1], ("no", "yes")),
        (["no", "yes", "no"], ["yes", "no", "maybe"], [1, 0, 1], ("yes", "no", "maybe")),
        ([200, 3, 4], 0, [200.0, 3.0, 4.0], ()),
    ],
)
def test_what_a_target_means_follows_from_the_declaration(y: Any, classes: Any, codes: Any, names: Any) -> None:
    rows = rows_from_frame(pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": y}), target="y", classes=classes)
    assert rows.schema.classes == names
    assert rows.y.tolist() == codes
    assert rows.y.dtype.kind == ("i" if names else "f")


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 1, 2], ["no", "yes"], "holds 2"),
        ([1, 2, 3], ["1", "2"], "holds 3"),
        ([0, 0, 1], ["1", "2"], "holds 0"),
        ([0, 0, 0], ["1", "2"], "holds 0"),
        ([1, 2, 2026], None, "classes=0 for a regression"),
        ([-1, 1, 1], None, "classes=0 for a regression"),
    ],
)
def test_a_number_that_is_no_class_is_an_error(y: Any, classes: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        rows_from_frame(pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": y}), target="y", classes=classes)


def test_several_target_columns_become_a_matrix() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "a": [0, 1], "b": [1, 1]})
    rows = rows_from_frame(frame, target=["a", "b"])
    assert rows.y.tolist() == [[0, 1], [1, 1]]
    assert rows.classes == 0
    assert list(rows.columns) == ["x"]


def test_a_declared_schema_decides_the_kinds(csv: Path, tmp_path: Path) -> None:
    schema = people(csv).schema
    later = tmp_path / "later.csv"
    later.write_text("name,owner,age,job,code,smoker,income\n10,u9,,12,4,1,>50K\n")
    rows = people(later, classes=None, schema=schema)
    check_schema(rows.schema, schema)
    assert rows.columns["job"].tolist() == ["12"]
    assert np.isnan(rows.columns["age"]).all()
    assert rows.y.tolist() == [1]
    later.write_text("name,owner,age,job,code,smoker,income\n10,u9,old,x,4,1,>50K\n")
    with pytest.raises(SchemaError, match="'age' was declared as numbers"):
        people(later, schema=schema)


def test_a_schema_of_a_regression_makes_whole_numbers_a_regression() -> None:
    schema = rows_from_frame(pd.DataFrame({"x": [1.0], "y": [0.5]}), target="y").schema
    later = rows_from_frame(pd.DataFrame({"x": [1.0], "y": [2]}), target="y", schema=schema)
    check_schema(later.schema, schema)
    assert later.y.dtype.kind == "f"


def test_frames_of_many_types_become_numbers_and_text() -> None:
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None], dtype="Int64"),
            "flag": pd.array([True, None], dtype="boolean"),
            "level": pd.Categorical(["u", None]),
            "loose": pd.Series([None, "t"], dtype=object),
            "mixed": pd.Series(["t", 3], dtype=object),
            "numbers": pd.Series([None, 3], dtype=object),
        }
    )
    columns = rows_from_frame(frame).columns
    assert columns["nullable"].tolist()[0] == 1
    assert np.isnan(columns["nullable"][1])
    assert np.isnan(columns["flag"][1])
    assert columns["level"].tolist() == ["u", ""]
    assert columns["loose"].tolist() == ["", "t"]
    assert columns["mixed"].tolist() == ["t", "3"]
    assert np.isnan(columns["numbers"][0])


def test_times_and_twin_columns_are_errors() -> None:
    with pytest.raises(SchemaError, match="'t' holds times"):
        rows_from_frame(pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])}))
    with pytest.raises(SchemaError, match="share a name"):
        rows_from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_the_frame_of_rows_reads_back(csv: Path) -> None:
    rows = people(csv)
    frame = frame_of(rows)
    assert frame["y"].tolist() == ["<=50K", ">50K", "<=50K"]
    back = rows_from_frame(frame, target="y", id="id", subject="subject", classes=CLASSES)
    assert_same(back, rows)
    wide = frame_of(Rows.of(np.arange(6).reshape(2, 3), np.ones((2, 2))))
    assert list(wide.columns) == ["id", "x_0", "x_1", "x_2", "y_0", "y_1"]


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        rows_from_file(tmp_path / "absent.csv")
    (tmp_path / "p.xlsx").write_text("")
    with pytest.raises(InputError, match=r"\.csv"):
        rows_from_file(tmp_path / "p.xlsx")
    for name in ("empty.csv", "broken.parquet", "broken.npz", "broken.jsonl"):
        (tmp_path / name).write_text("" if name == "empty.csv" else "nothing of the kind")
        with pytest.raises(InputError, match=name):
            rows_from_file(tmp_path / name)


def test_npz_arrays_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((3, 2, 2), dtype=np.uint8), y=[0, 1, 1], names=["a", "b", "c"], other=np.arange(7))
    rows = rows_from_npz(path, id="names")
    assert rows.ids.tolist() == ["a", "b", "c"]
    assert rows.columns["x"].shape == (3, 2, 2)
    assert rows.columns["x"].dtype == np.uint8
    assert rows.classes == 2
    assert list(rows_from_npz(path, columns={"pixels": "X"}).columns) == ["pixels"]
    assert_same(rows_from_file(path, target="y", id="names"), rows)
    with pytest.raises(SchemaError, match=r"no array 'label'.*'y'"):
        rows_from_npz(path, target="label")


def test_npz_of_named_tables_becomes_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(
        path,
        X_num=np.array([[1.5], [2.5]], dtype=np.float32),
        num_names=["age"],
        X_cat=np.array([[1], [0]], dtype=np.int16),
        cat_names=["job"],
        cat_levels_0=["clerk", "None"],
        y=np.array([1, 0], dtype=np.uint8),
        y_names=["no", "yes"],
        group=[5, 5],
    )
    rows = rows_from_npz(path, subject="group")
    assert rows.columns["age"].tolist() == [1.5, 2.5]
    assert rows.columns["job"].tolist() == ["None", "clerk"]
    assert rows.schema.classes == ("no", "yes")
    assert len(rows.of_subjects([5])) == 2


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object), y=[0])
    with pytest.raises(InputError, match="plain arrays"):
        rows_from_npz(tmp_path / "o.npz")


def test_real_files_load(shared_data: Path) -> None:
    adult = rows_from_file(shared_data / "small" / "adult_5k.npz", target="y", ignore=["is_test"])
    assert len(adult) == 5000
    assert len(adult.columns) == 14
    assert {column.kind for column in adult.schema.columns} == {"f", "T"}
    assert adult.classes == 2
    digits = rows_from_file(shared_data / "small" / "mnist_2k.npz", target="y_train")
    assert digits.columns["x"].shape == (2000, 28, 28)
    assert digits.classes == 10


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="the extra data (pillow) is not installed")
    for place, (label, name) in enumerate([("cat", "a.png"), ("cat", "b.png"), ("dog", "a.png")]):
        (tmp_path / "pets" / label).mkdir(parents=True, exist_ok=True)
        image.fromarray(np.full((4, 5), place, dtype=np.uint8)).save(tmp_path / "pets" / label / name)
    (tmp_path / "pets" / "dog" / "notes.txt").write_text("no image")
    return tmp_path / "pets"


def test_a_folder_of_images_becomes_rows(pictures: Path) -> None:
    rows = rows_from_file(pictures)
    assert rows.ids.tolist() == ["cat/a.png", "cat/b.png", "dog/a.png"]
    assert rows.columns["x"].shape == (3, 4, 5)
    assert rows.columns["x"][:, 0, 0].tolist() == [0, 1, 2]
    assert rows.y.tolist() == [0, 0, 1]
    assert rows.schema.classes == ("cat", "dog")
    assert rows_from_images(pictures, classes=["dog", "cat", "owl"]).y.tolist() == [1, 1, 0]


def test_one_coloured_image_makes_all_coloured(pictures: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((4, 5, 3), 7, dtype=np.uint8)).save(pictures / "dog" / "c.png")
    rows = rows_from_images(pictures)
    assert rows.columns["x"].shape == (4, 4, 5, 3)
    assert rows_from_images(pictures, grey=True).columns["x"].shape == (4, 4, 5)


def test_folders_that_cannot_be_read_are_errors(pictures: Path, tmp_path: Path) -> None:
    from PIL import Image

    with pytest.raises(SchemaError, match="'cat'"):
        rows_from_images(pictures, classes=["dog"])
    with pytest.raises(SchemaError, match="3 classes"):
        rows_from_images(pictures, classes=3)
    with pytest.raises(InputError, match="folder of images"):
        rows_from_file(pictures, target="y")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no images"):
        rows_from_images(tmp_path / "none")
    Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(pictures / "dog" / "small.png")
    with pytest.raises(SchemaError, match=r"small\.png is \(2, 2\)"):
        rows_from_images(pictures)
    (pictures / "dog" / "small.png").write_text("broken")
    with pytest.raises(InputError, match=r"small\.png"):
        rows_from_images(pictures)
