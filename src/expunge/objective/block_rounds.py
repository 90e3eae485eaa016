r"""Newton steps in blocks of slices, round after round, each round in a block chosen anew: randomised block Newton.

    P_r chosen at w_r,     w_{r+1} = w_r + H_P^-1 b_P in P,     b = -grad F(w_r; retained)

The first step may take what the rows that leave contribute to the gradient, which at a minimiser is the same. Where F
is strongly convex and every slice has a positive probability, near the minimiser w*

    E ||w_r - w*||_H^2 <= (1 - mu)^r ||w_0 - w*||_H^2,     mu = lambda_min(H^1/2 E[I_P H_P^-1 I_P^T] H^1/2)

(Qu, Richtarik, Takac & Fercoq 2016), so that in the end all weights arrive, however small the blocks. A choice that
leaves some slices out for ever stops where the gradient in the others vanishes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge import keyed
from expunge.objective.objective import Objective
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection, block_of, chosen_slices
from expunge.objective.slice_block import BlockSolver
from expunge.objective.slices import slices_of
from expunge.rows import Rows


@dataclass(frozen=True)
class Rounds:
    """Args: selection, perturbation: of each round. solver: of its block. rounds, steps: in each; full: see `walk`."""

    selection: Selection = field(default_factory=Selection)
    perturbation: Perturbation = field(default_factory=Perturbation)
    solver: BlockSolver = field(default_factory=BlockSolver)
    rounds: int = 1
    steps: int = 1
    full: bool = False


@dataclass(frozen=True, eq=False)
class Walked:
    """What is reached after a round.

    Attributes:
        w: (d,). chosen: every slice that was in a block so far. touched: (d,) whether a weight was.
        products: with curvatures, so far. clamped, shift: of the last step; see `BlockStep`.
    """

    w: Tensor
    chosen: frozenset[int]
    touched: Tensor
    products: int
    clamped: int
    shift: float


def walk(
    objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, curved: Rows, how: Rounds, seed: int
) -> Iterator[Walked]:
    """Each round's end. Nothing more comes once a choice is empty.

    Args:
        w: (d,) where it starts. curved: rows that curvatures are taken over.
        how: the first step follows the gradients of the forgotten rows unless `full`; all others that of the retained.
        seed: of the choices; the first round's are those of a single round.

    Raises:
        InputError, NotConverged: as for `BlockSolver.step`.
    """
    slices, slopes = slices_of(objective), objective.gradient_sum(w, forgotten)
    removed = slopes + len(forgotten) * objective.l2 * w
    chosen: frozenset[int] = frozenset()
    touched, products = torch.zeros_like(w, dtype=torch.bool), 0
    for number in range(how.rounds):
        drawn = keyed.subseed(seed, "round", number) if number else seed
        b = -objective.gradient(w, retained) if how.full or number else removed / len(retained)
        picked = chosen_slices(objective, w, slices, forgotten, b, how.selection, how.perturbation, drawn)
        if not picked:
            return
        block = block_of(slices, picked)
        for step in range(how.steps):
            b = -objective.gradient(w, retained) if step else b
            found = how.solver.step(objective, w, curved, forgotten, block, b[block.positions])
            w, products = w.index_add(0, block.positions, found.x), products + found.products
        chosen, touched = chosen | set(picked), touched.index_fill(0, block.positions, value=True)
        yield Walked(w, chosen, touched, products, found.clamped, found.shift)


def walked(
    objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, curved: Rows, how: Rounds, seed: int
) -> Walked | None:
    """The end of all rounds of `walk`; None where not even the first had a slice."""
    ends = deque(walk(objective, w, retained, forgotten, curved, how, seed), maxlen=1)
    return ends[0] if ends else None
