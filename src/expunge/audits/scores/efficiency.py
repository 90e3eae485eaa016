"""Efficiency: what a deletion costs beside learning again, preparation and storage included.

"RTE" is two things in the literature: the seconds of forgetting (Fan et al. 2024, SalUn) and T_retrain / T_forget.
Here it is the latter. All seconds must come from one run on one machine. A method that prepares (checkpoints, caches,
influence) pays before the first request: a ratio alone hides that.
"""

from __future__ import annotations

import math


def speed_up(retrain: float, forget: float) -> float:
    """T(h^*) / T(h^U), seconds over seconds (Mercuri et al. 2022, section 2); infinite where forgetting takes none."""
    return retrain / forget if forget > 0 else math.inf


def break_even(preparation: float, retrain: float, forget: float) -> float:
    """Deletions after which the preparation has paid off: preparation / (retrain - forget); infinite if never.

    Args:
        preparation: seconds of `learn` beyond plain training. retrain, forget: seconds of one request.
    """
    saved = retrain - forget
    if preparation <= 0:
        return 0.0 if saved >= 0 else math.inf
    return preparation / saved if saved > 0 else math.inf


def speed_up_after(requests: int, preparation: float, retrain: float, forget: float) -> float:
    """Speed-up over so many requests with the preparation charged: k T_retrain / (preparation + k T_forget)."""
    return speed_up(requests * retrain, preparation + requests * forget)


def storage_ratio(record_bytes: int, release_bytes: int) -> float:
    """Bytes kept in order to be able to forget, over bytes of the model that is served; 1 keeps nothing more."""
    return record_bytes / release_bytes if release_bytes > 0 else math.inf
