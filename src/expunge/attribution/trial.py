"""Forget the first rows of a ranking, in memory, and hold what was predicted against what is measured.

Nothing is committed: `learn` and `forget` are pure. Beside each set stands a random one of the same size, since
forgetting any rows changes a model, and the same set learned without, since that is what forgetting should give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from expunge import keyed
from expunge.attribution.curvature import Curvature
from expunge.attribution.ranking import Ranking
from expunge.attribution.removal import Performance, performance, predicted_removal
from expunge.attribution.trained_model import TrainedModel
from expunge.errors import InputError, MustRetrain
from expunge.method import Method
from expunge.noise import NoiseKey
from expunge.rows import Rows

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """What one set does: `before`, `predicted` (None without derivatives), `forgotten`, `retrained`, and `random` rows.

    Attributes:
        rows: of the set. how: "forgotten", or "learned again" where the method asked for it.
    """

    rows: int
    before: Performance
    predicted: Performance | None
    forgotten: Performance
    retrained: Performance
    random: Performance
    how: str


def try_removals(
    method: Method[Any],
    record: Any,
    rows: Rows,
    validation: Rows,
    ranking: Ranking,
    sizes: Sequence[int],
    *,
    seed: int,
    release: int = 1,
    model: TrainedModel | None = None,
    curvature: Curvature | None = None,
    progress: Progress | None = None,
) -> tuple[Trial, ...]:
    """Forget the first `sizes[0]`, `sizes[1]`, ... rows of the ranking, each from the same record.

    Args:
        record: learned from `rows`. model: its release read as an objective, for predictions; None for none.
        seed: of the record's learning, and of the random sets. release: the number of the record's release.

    Raises:
        InputError: a size is not between 1 and n - 1, or the ranking is of other rows.
    """
    if len(ranking) != len(rows) or not all(1 <= size < len(rows) for size in sizes):
        raise InputError(f"Sizes {list(sizes)} of a ranking of {len(ranking)}: 1 to {len(rows) - 1} rows can leave.")
    tell = progress or (lambda _what, _done, _of: None)
    before = performance(method, method.release(record), validation)
    shuffled = rows.ids[keyed.permutation(seed, ("attribution", "random"), rows.keys)]

    def after(names: Sequence[str]) -> tuple[Performance, str]:
        retained, forgotten = rows.without(names), rows.only(names)
        try:
            step = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(release + 1))
        except MustRetrain:
            return _learned(method, retained, validation, seed, release + 1), "learned again"
        return performance(method, method.release(step.record), validation), "forgotten"

    trials = []
    for done, size in enumerate(sizes):
        tell("forgetting", done, len(sizes))
        names = ranking.first(size)
        forgotten, how = after(names)
        trials.append(
            Trial(
                size,
                before,
                predicted_removal(model, rows, names, validation, curvature=curvature) if model else None,
                forgotten,
                _learned(method, rows.without(names), validation, seed, release + 1),
                after(tuple(map(str, shuffled[:size])))[0],
                how,
            )
        )
    tell("forgetting", len(sizes), len(sizes))
    return tuple(trials)


def _learned(method: Method[Any], rows: Rows, validation: Rows, seed: int, number: int) -> Performance:
    return performance(method, method.release(method.learn(rows, seed=seed, noise=NoiseKey.fresh(number))), validation)
