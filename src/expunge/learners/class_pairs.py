"""Several classes as pairs of two: the rows of each pair, and one answer of all (one against one).

    votes_c   = pairs that c wins
    support_c = sum over its pairs of f (where c is the positive side) or -f
    score_c   = votes_c + support_c / (3 (|support_c| + 1))

Ties of votes are decided by support, which cannot overrule a vote. With two classes the score is f itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners.kept_rows import Bucket, Buckets, measurable, rows_at
from expunge.maths.kernel_function import KernelFunction
from expunge.maths.margin_machine import Machine, Sides
from expunge.method import Release
from expunge.schema import Array

Pair = tuple[int, int]
TWO = 2


def pairs(classes: int) -> Iterator[Pair]:
    """The pairs of classes in their order; the later class is the positive side."""
    return combinations(range(classes), 2)


def sides(rows: Bucket, pair: Pair) -> Sides:
    """The rows of two classes, in their order."""
    mine = (rows.y == pair[0]) | (rows.y == pair[1])
    side = torch.where(rows.y[mine] == pair[1], 1.0, -1.0).double()
    return Sides(rows.keys.numpy()[mine.numpy()], rows.x[mine], side.numpy())


def support(buckets: Buckets, machine: Machine, pair: Pair) -> Sides:
    """The rows of a machine's support."""
    keys = machine.keys.numpy()
    return sides(rows_at(buckets, keys), pair) if len(keys) else sides(nobody(0), pair)


def weighted_support(
    buckets: Buckets, machines: Sequence[Machine], classes: int, columns: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Support of all machines by key: the rows (k, p), a y of each machine for them (pairs, k), and b (pairs,)."""
    supports = [machine.keys.numpy() for machine in machines]
    keys = np.unique(np.concatenate(supports))
    rows = rows_at(buckets, keys) if len(keys) else nobody(columns)
    coefficients = torch.zeros((len(machines), len(keys)), dtype=torch.float64)
    for place, pair in enumerate(pairs(classes)):
        where = torch.from_numpy(np.searchsorted(keys, supports[place]))
        side = torch.where(rows.y[where] == pair[1], 1.0, -1.0).double()
        coefficients[place, where] = machines[place].alpha * side
    return rows.x, coefficients, torch.tensor([machine.b for machine in machines], dtype=torch.float64)


def nobody(columns: int) -> Bucket:
    """No row."""
    return Bucket(
        torch.empty(0, dtype=torch.uint64), torch.empty((0, columns), dtype=torch.float64), torch.empty(0).long()
    )


def decisions(release: Release, columns: Mapping[str, Array]) -> Tensor:
    """The f of every pair, (m, pairs).

    Raises:
        InputError: the column `x` is absent, not finite, or not as wide as the rows learned from.
    """
    x, chosen = measurable(columns), release.settings
    if x.shape[1] != chosen["columns"]:
        raise InputError(f"The rows to predict have {x.shape[1]} columns; those learned from have {chosen['columns']}.")
    if "weights" in release.tensors:
        return x @ release.tensors["weights"].T + release.tensors["b"]
    kernel = KernelFunction(chosen["kernel"], chosen["gamma"], chosen["coef0"], chosen["degree"])
    return kernel.matrix(x, release.tensors["x"]) @ release.tensors["coefficients"].T + release.tensors["b"]


def scores(values: Tensor, classes: int) -> Tensor:
    """Log-probabilities (m, classes) of decisions (m, pairs): logistic for two classes, softmax of scores for more."""
    if classes == TWO:
        return torch.nn.functional.logsigmoid(torch.cat([-values, values], 1))
    votes, backing = values.new_zeros((len(values), classes)), values.new_zeros((len(values), classes))
    for place, (one, other) in enumerate(pairs(classes)):
        f = values[:, place]
        votes[:, other] += f > 0
        votes[:, one] += f < 0
        backing[:, other] += f
        backing[:, one] -= f
    return torch.log_softmax(votes + backing / (3 * (backing.abs() + 1)), 1)
