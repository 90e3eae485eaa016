"""Which slices of a model to change for the rows that leave: Markov blankets of their losses, and what to compare with.

    l_foci            all slices compete (the paper's)
    l_foci_per_layer  the slices of each layer compete among themselves; the union
    cheapest          the one slice of the largest coefficient
    gradient_norm     the `count` slices of the largest gradient: of the rows that leave, or of what is left to go
    random            `count` slices, keyed
    all               every slice: the full Newton step

The first three are taken for each row and united; they add the rows of the tokens that occur. Slices without an
activation (of recurrent layers, say) are reached by the others only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.maths.feature_ordering import STOPS, foci
from expunge.objective.objective import Objective
from expunge.objective.perturbation import Perturbation, perturbed
from expunge.objective.slice_block import Block
from expunge.objective.slices import Slices
from expunge.rows import Rows

BLANKETS = ("l_foci", "l_foci_per_layer", "cheapest")
SELECTORS = (*BLANKETS, "gradient_norm", "random", "all")
TIES = ("average", "noise")


@dataclass(frozen=True)
class Selection:
    """How slices are chosen.

    Args:
        selector: see the module. count: of `gradient_norm` and `random`.
        most: slices of one blanket (of one layer's, per layer); 0 for no limit. stop, ties: of `expunge.foci`.
        threads: over slices.
    """

    selector: str = "l_foci"
    count: int = 10
    most: int = 0
    stop: str = "positive"
    ties: str = "average"
    threads: int = 1

    def __post_init__(self) -> None:
        for name, value, among in (
            ("selector", self.selector, SELECTORS),
            ("stop", self.stop, STOPS),
            ("ties", self.ties, TIES),
        ):
            if value not in among:
                raise InputError(f"There is no {name} {value!r}; choose one of {', '.join(among)}.")
        if self.count < 1 or self.most < 0 or self.threads < 1:
            raise InputError(f"count={self.count}, most={self.most}, threads={self.threads}: give 1, 0 and 1 at least.")


def chosen_slices(
    objective: Objective,
    w: Tensor,
    slices: Slices,
    forgotten: Rows,
    slopes: Tensor,
    how: Selection,
    perturbation: Perturbation,
    seed: int,
) -> tuple[int, ...]:
    """The numbers of the chosen slices, ascending.

    Args:
        slopes: (d,) the gradient that the step is to follow, of any scale. seed: of perturbations and of `random`.
    """
    match how.selector:
        case "all":
            return tuple(range(len(slices)))
        case "random":
            numbers = np.arange(len(slices), dtype=np.uint64)
            return tuple(sorted(keyed.k_smallest(seed, ("random slices",), numbers, how.count).tolist()))
        case "gradient_norm":
            largest = torch.topk(slices.norms(slopes), min(how.count, len(slices))).indices
            return tuple(sorted(largest.tolist()))
    found: set[int] = set()
    for table in forgotten.batches(1):
        drawn = keyed.subseed(seed, int(table.keys[0]))
        seen = perturbed(objective, w, slices, table, perturbation, seed=drawn)
        gradient = objective.gradient_sum(w, Rows.from_table(table, forgotten.schema.classes))
        found.update(blanket(seen.losses, seen.activations, slices, how, drawn), slices.tokens(gradient))
    return tuple(sorted(found))


def blanket(
    losses: NDArray[np.float64], activations: NDArray[np.float64], slices: Slices, how: Selection, seed: int
) -> set[int]:
    """The slices whose activations (m, slices) the losses (m,) depend on."""
    if how.selector != "l_foci_per_layer":
        return _blanket(losses, activations, range(len(slices)), how, seed)
    found: set[int] = set()
    for start, stop in zip(slices.starts, slices.starts[1:], strict=False):
        found |= _blanket(losses, activations, range(start, stop), how, seed)
    return found


def _blanket(
    losses: NDArray[np.float64], activations: NDArray[np.float64], among: range, how: Selection, seed: int
) -> set[int]:
    values = activations[:, among.start : among.stop]
    usable = among.start + np.flatnonzero(np.isfinite(values).all(0) & (np.ptp(values, axis=0) > 0))
    if not len(usable):
        return set()
    cheapest = how.selector == "cheapest"
    found = foci(
        losses,
        activations[:, usable],
        stop="never" if cheapest else how.stop,
        max_features=1 if cheapest else how.most or None,
        ties=how.ties,
        seed=seed if how.ties == "noise" else None,
        threads=how.threads,
    )
    return {int(usable[number]) for number in found.selected}


def block_of(slices: Slices, chosen: Sequence[int]) -> Block:
    """The weights of some slices; what several of them share counts once."""
    parts = slices.of(chosen)
    positions = torch.unique(torch.cat(parts))
    return Block(positions, tuple(torch.searchsorted(positions, part) for part in parts))


def sampled(rows: Rows, seed: int, most: int) -> Rows:
    """The rows, or a keyed sample of `most` where that is positive and fewer."""
    if not 0 < most < len(rows):
        return rows
    return rows.select(np.isin(np.arange(len(rows)), keyed.k_smallest(seed, ("sampled rows",), rows.keys, most)))
