"""The data sets of the comparison, as rows to learn from and to test on; those whose file is not there are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from expunge import Rows, keyed

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Rows to learn from and to test on, with what all methods share.

    `loss`: of the linear model; `l2`: of its mean loss. `noise_std`: of the releases of methods that take one.
    `row_norm`: a bound of the rows' norms with the constant 1, for methods whose bound needs one.
    """

    name: str
    rows: Rows
    test: Rows
    loss: str
    l2: float
    noise_std: float
    row_norm: float

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return (self.rows.schema.columns[0].shape[0] + 1) * (1 if self.loss == "logistic" else self.rows.classes)


def mnist_3_against_8(limit: int | None) -> Problem:
    """11,982 pictures of 784 pixels in [0, 1]."""
    parts = []
    for x, y in _images("mnist"):
        keep = np.flatnonzero((y == 3) | (y == 8))[:limit]
        parts.append((x[keep].reshape(-1, 784) / 255.0, (y[keep] == 8).astype(np.int64)))
    return _problem("MNIST 3 against 8", parts, 2, 0.003)


def mnist_ten_digits(limit: int | None) -> Problem:
    """The first 10,000 pictures, halved to 14 by 14 by means of four pixels: 1,970 parameters."""
    parts = []
    for x, y in _images("mnist"):
        x, y = x[: limit or 10_000], y[: limit or 10_000]
        small = x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196) / 255.0
        parts.append((small, y.astype(np.int64)))
    return _problem("MNIST ten digits", parts, 10, 0.003)


def fashion(limit: int | None) -> Problem:
    """Fashion-MNIST, as the ten digits."""
    parts = []
    for x, y in _images("fashion_mnist"):
        x, y = x[: limit or 10_000], y[: limit or 10_000]
        small = x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196) / 255.0
        parts.append((small, y.astype(np.int64)))
    return _problem("Fashion-MNIST", parts, 10, 0.003)


def bank_marketing(limit: int | None) -> Problem:
    """Four in five calls to learn from, keyed; categories as 0 and 1, columns standardised."""
    with np.load(FOLDER / "bank_marketing.npz", allow_pickle=False) as file:
        codes, number, y = file["X_cat"], file["X_num"], file["y"]
        levels = [len(file[f"cat_levels_{j}"]) for j in range(codes.shape[1])]
    x = np.c_[number, *(np.eye(k)[codes[:, j]] for j, k in enumerate(levels))].astype(np.float64)
    order = keyed.permutation(0, ("bank", "split"), keyed.keys_of(range(len(y))))
    learned, test = order[: len(y) * 4 // 5], order[len(y) * 4 // 5 :]
    spread = x[learned].std(axis=0)
    x = (x - x[learned].mean(axis=0)) / np.where(spread > 0, spread, 1.0) / np.sqrt(x.shape[1])
    parts = [(x[s][:limit], y[s][:limit].astype(np.int64)) for s in (learned, test)]
    return _problem("Bank marketing", parts, 2, 0.003)


def adult(limit: int | None) -> Problem:
    """The publisher's split: 32,561 persons to learn from; categories as 0 and 1, columns standardised."""
    with np.load(FOLDER / "adult.npz", allow_pickle=False) as file:
        codes, number, y, is_test = file["X_cat"], file["X_num"], file["y"], file["is_test"].astype(bool)
        levels = [len(file[f"cat_levels_{j}"]) for j in range(codes.shape[1])]
    x = np.c_[number, *(np.eye(k)[codes[:, j]] for j, k in enumerate(levels))].astype(np.float64)
    spread = x[~is_test].std(axis=0)
    x = (x - x[~is_test].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x /= np.sqrt(x.shape[1])  # rows of length about 1
    parts = [(x[s][:limit], y[s][:limit].astype(np.int64)) for s in (~is_test, is_test)]
    return _problem("Adult", parts, 2, 0.003)


def higgs(limit: int | None) -> Problem:
    """7,000 collisions to learn from, 500 to test on; 28 columns, standardised."""
    with np.load(FOLDER / "higgs_7500.npz", allow_pickle=False) as file:
        x, y, is_test = file["X"].astype(np.float64), file["y"], file["is_test"].astype(bool)
    x = (x - x[~is_test].mean(axis=0)) / x[~is_test].std(axis=0) / np.sqrt(x.shape[1])
    parts = [(x[s][:limit], y[s][:limit].astype(np.int64)) for s in (~is_test, is_test)]
    return _problem("Higgs", parts, 2, 0.003)


def cifar10(limit: int | None) -> Problem:
    """10,000 pictures through 24 random filters of 6 by 6 (keyed, never trained), rectified, pooled, standardised."""
    parts = []
    filters = torch.from_numpy(keyed.normals(0, ("cifar", "filters"), (24, 3, 6, 6))).float()
    filters -= filters.mean(dim=(1, 2, 3), keepdim=True)
    for x, y in _images("cifar10_12k"):
        some = torch.from_numpy(x[:limit]).permute(0, 3, 1, 2).float() / 255.0
        pooled = []
        for batch in torch.split(some, 500):
            through = torch.nn.functional.conv2d(batch, filters, stride=2)
            both = torch.cat([through.relu(), (-through).relu()], dim=1)
            pooled.append(torch.nn.functional.adaptive_avg_pool2d(both, 2).flatten(1))
        features = torch.cat(pooled).double().numpy()
        parts.append((features, y[:limit].astype(np.int64)))
    centre, spread = parts[0][0].mean(axis=0), parts[0][0].std(axis=0)
    length = 4 / np.sqrt(len(centre))  # of rows, about
    return _problem("CIFAR-10, random features", [((x - centre) / spread * length, y) for x, y in parts], 10, 0.003)


PROBLEMS: Mapping[str, tuple[str, Callable[[int | None], Problem]]] = {
    "higgs": ("higgs_7500.npz", higgs),
    "mnist38": ("mnist.npz", mnist_3_against_8),
    "adult": ("adult.npz", adult),
    "mnist10": ("mnist.npz", mnist_ten_digits),
    "fashion": ("fashion_mnist.npz", fashion),
    "bank": ("bank_marketing.npz", bank_marketing),
    "cifar10": ("cifar10_12k.npz", cifar10),
}


def pictures(name: str, limit: int | None) -> Problem | None:
    """The whole pictures of "mnist10", "fashion" or "cifar10", 10,000 to learn from; None of a table."""
    files = {"mnist10": "mnist", "fashion": "fashion_mnist", "cifar10": "cifar10_12k"}
    if name not in files:
        return None
    parts = []
    for x, y in _images(files[name]):
        x = x[: limit or 10_000].astype(np.float32) / 255.0
        channels = x[:, None] if x.ndim == 3 else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        parts.append(((channels - 0.3) / 0.3, y[: limit or 10_000].astype(np.int64)))
    rows, test = (Rows.of({"x": x}, y, classes=10) for x, y in parts)
    return Problem(PROBLEMS[name][1](10).name, rows, test, "cross_entropy", 1e-4, 0.003, 1.0)


def _images(name: str) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return [(file[f"X_{part}"], file[f"y_{part}"]) for part in ("train", "test")]


def _problem(name: str, parts: list[tuple[Floats, NDArray[np.int64]]], classes: int, noise_std: float) -> Problem:
    rows, test = (Rows.of({"x": np.ascontiguousarray(x)}, y, classes=classes) for x, y in parts)
    longest = float(np.sqrt(1 + np.square(parts[0][0]).sum(axis=1)).max())
    loss = "logistic" if classes == 2 else "cross_entropy"
    return Problem(name, rows, test, loss, 1e-3, noise_std, float(np.ceil(longest * 100) / 100))
