"""Noise that is carried from release to release: each adds an increment to the noise of the one before.

`maths.transcripts` derives what a transcript then tells, and the schedule: increments of variance noise_std^2 c_t^2,
the total below noise_std^2 for ever, centres within mu noise_std c_(t+1)^2 / 2 of each other. Only the increment hides
what happened *between* two releases: carried noise makes the two-release exposure larger than fresh noise does.

The machine's normals err at the border of a cell by up to 100 u of their own standard deviation; the sum of
10,000 of them by up to sum c_t < 8 times that. Sums of floats would add 10 u each, 10^5 u in all: carried noise is kept
in whole units of at most 2^-56 noise_std, which sum exactly. To round an increment to them costs at most u/16, 625 u in
all, and to read the sum as a float 10 u. Carried noise is rounded to a grid 16 times coarser than fresh noise is, and
800 + 625 + 10 < 1600: what `Budget` charges for arithmetic covers it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Certified
from expunge.maths import transcripts
from expunge.noise import GRID_BITS, NoiseKey

COARSER = 4  # bits
UNIT_BITS = 56  # below the noise's standard deviation; 64 of those, beyond any noise, still fit into 63 bits
ASSUMPTIONS = (
    "Noise is carried on: no request depends on a release made before it, which tells most of the next one's noise.",
    "Where the model had to be learned again, so was the reference, at the same release, with new noise.",
)


@dataclass(frozen=True, eq=False)
class Carried:
    """The noise in release `number`, a secret: `units` (int64), each `unit`.

    `increment` is the standard deviation of its newest part, 0 if all is.
    """

    units: Tensor
    unit: float
    number: int
    increment: float

    @property
    def noise(self) -> Tensor:
        """The noise in float64."""
        return self.units.double() * self.unit


def carry_on(before: Carried | None, like: Tensor, noise_std: float, noise: NoiseKey) -> Carried:
    """The noise of release `noise.release`: an increment on that of `before`, or all of it anew."""
    std = transcripts.increment_std(noise_std, noise.release, before.number if before else 0)
    unit = 2.0 ** (math.floor(math.log2(noise_std)) - UNIT_BITS)
    fresh = std * torch.from_numpy(noise.normals("release", tuple(like.shape))).to(like.device)
    units = torch.round(fresh / unit).to(torch.int64)
    if before is None:
        return Carried(units, unit, noise.release, 0.0)
    return Carried(before.units + units, unit, noise.release, std)


def noised(centre: Tensor, carried: Carried, noise_std: float) -> Tensor:
    """The release: centre and noise, rounded to the coarser grid."""
    grid = 2.0 ** (math.floor(math.log2(noise_std)) - GRID_BITS + COARSER)
    return torch.round((centre + carried.noise) / grid) * grid


def carried_distance(budget: Budget, release: int, coordinates: int) -> float:
    """What the centres of release number `release` may be apart under carried noise.

    Raises:
        Refused: a release past those whose machine noise was paid for.
    """
    budget.distance(release, coordinates)
    return budget.noise_std * budget.mu(coordinates) * transcripts.carried_share(release)


def with_carried_noise(promise: Certified, budget: Budget, carried: Carried) -> Certified:
    """The certificate of a release whose noise is carried, from the one with fresh noise."""
    coordinates = carried.units.numel()
    distance = carried_distance(budget, carried.number, coordinates)
    std = transcripts.increment_std(budget.noise_std, carried.number)
    reference = (
        f"the minimiser on the retained rows alone, solved to within {distance / 2:.3g} (Euclidean), plus normal noise "
        f"of standard deviation {std:.6g} on each of {coordinates} coordinates, carried on from release to release"
    )
    return replace(
        promise,
        distance=distance,
        noise_std=std,
        increment_std=carried.increment,
        reference=reference,
        assumptions=(*promise.assumptions, *ASSUMPTIONS),
    )
