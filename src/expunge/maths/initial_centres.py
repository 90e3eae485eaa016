"""k-means++ [Arthur & Vassilvitskii 2007] by exponential races: the choice depends on a row only where it wins.

The first centre is a row drawn in proportion to the weights w, each further one in proportion to w D^2, D the distance
to the nearest centre so far. Row i arrives at E_i / (w_i D_i^2) in the race of each step, E_i = -log u_i with a u of
the step and the row alone, and the first to arrive is chosen: that is the law above (Gumbel-max), and taking out rows
that win no race changes none. So of any set of rows that holds the winners, the same are chosen in the same order.
Where all rows left stand on centres, the smallest E decides, so that n rows have min(k, n) centres, equal ones too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from expunge.kernels.nearest import square_distances
from expunge.kernels.race import first

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Ints = NDArray[np.int64]


def initial_centres(
    x: Floats, weights: Floats, keys: Keys, count: int, uniforms: Callable[[int, Keys], Floats]
) -> Ints:
    """The positions of the min(count, n) initial centres, in the order of their choice.

    Args:
        x: rows (n, p). weights: (n,), positive. keys: (n,), all different.
        uniforms: (step, keys) -> the noise of each row in that step's race, (n,), in (0, 1).
    """
    places: list[int] = []
    nearest = np.full(len(x), np.inf)  # D^2
    chances = weights.copy()
    for step in range(min(count, len(x))):
        place = first(uniforms(step, keys), chances, keys)
        places.append(place)
        nearest = np.minimum(nearest, square_distances(x, x[place][None])[:, 0])
        chances = weights * nearest
        chances[places] = -1.0
    return np.array(places, dtype=np.int64)
