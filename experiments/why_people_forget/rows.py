"""The data of these experiments, as rows to learn from, clean rows for validation, and rows to test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from expunge import Rows, keyed

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Numbers x (n, p) in about [0, 1] and codes y of three disjoint parts; ids are r0, v0, t0 and so on."""

    name: str
    x: tuple[Floats, Floats, Floats]
    y: tuple[Integers, Integers, Integers]
    classes: int

    def rows(self, part: int, y: Integers | None = None, x: Floats | None = None) -> Rows:
        """Part 0 (to learn from), 1 (validation) or 2 (test), with other targets or pictures where given."""
        x, y = self.x[part] if x is None else x, self.y[part] if y is None else y
        return Rows.of({"x": x}, y, ids=names(part, len(y)), classes=self.classes)


def names(part: int, count: int) -> list[str]:
    """The ids of a part."""
    return [f"{'rvt'[part]}{i}" for i in range(count)]


def digits(seed: int) -> Split:
    """scikit-learn's handwritten digits: 1,000, 297 and 500 pictures of 8 by 8."""
    x, y = load_digits(return_X_y=True)
    return _split("digits", x / 16.0, y.astype(np.int64), (1000, 297, 500), seed)


def fashion(seed: int, sizes: tuple[int, int, int] = (4000, 500, 2000)) -> Split | None:
    """A cut of Fashion-MNIST, 28 by 28; None where the file is not there."""
    path = FOLDER / "fashion_mnist.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        x, y = file["X_train"][:10_000].reshape(-1, 784) / 255.0, file["y_train"][:10_000].astype(np.int64)
    return _split("Fashion-MNIST", x, y, sizes, seed)


def quick(split: Split, count: int) -> Split:
    """The same with at most `count` rows to learn from."""
    return replace(split, x=(split.x[0][:count], *split.x[1:]), y=(split.y[0][:count], *split.y[1:]))


def chosen(seed: int, purpose: str, among: Integers, count: int) -> Integers:
    """A keyed sample of places, in ascending order."""
    keys = keyed.keys_of(int(place) for place in among)
    return np.sort(among[keyed.k_smallest(seed, (purpose,), keys, count)])


def noisy_labels(y: Integers, places: Integers, classes: int, seed: int) -> Integers:
    """The targets with another class, each of the others alike, at these places."""
    shift = 1 + keyed.integers(seed, ("label noise",), keyed.keys_of(int(p) for p in places), classes - 1)
    wrong = y.copy()
    wrong[places] = (y[places] + shift) % classes
    return wrong


def _split(name: str, x: Floats, y: Integers, sizes: tuple[int, int, int], seed: int) -> Split:
    order = keyed.permutation(seed, ("split", name), keyed.keys_of(range(len(y))))[: sum(sizes)]
    ends = np.cumsum(sizes)[:-1]
    parts_x, parts_y = np.split(x[order], ends), np.split(y[order], ends)
    return Split(name, (parts_x[0], parts_x[1], parts_x[2]), (parts_y[0], parts_y[1], parts_y[2]), int(y.max()) + 1)
