"""The rows themselves, for methods whose record is made of them: in buckets by key, so that a step touches few tensors.

The buckets are a function of the set of keys (`maths.key_buckets`): whatever the order of requests, the same rows are
kept in the same tensors. A row that leaves is erased: its bucket is written anew without it, and nothing marks where it
stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.errors import DuplicateRows, InputError
from expunge.keyed import Keys
from expunge.learners.inputs import in_key_order, matrix, numbers, target
from expunge.maths.key_buckets import buckets_of, holder, home, joined
from expunge.rows import Rows
from expunge.schema import Array

LARGEST = 1e150  # squares of larger numbers overflow
ABSENT = "A row to forget is not among the rows of the record: it was never learned, or is gone."


@dataclass(frozen=True, eq=False)
class Bucket:
    """Rows by key, ascending: `keys` (n,) uint64, `x` (n, p) float64, `y` (n,) int64 codes, or (n, ...) float64."""

    keys: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.keys)


Buckets = Mapping[str, Bucket]  # by the bits that their keys begin with


def measurable(columns: Mapping[str, Array]) -> Tensor:
    """Column `x` as a matrix (n, p) whose squares are finite; -0.0 is 0.0.

    Raises:
        InputError: there is no column `x`, it is text, or it holds NaN, infinity or numbers beyond 1e150.
    """
    x = matrix(columns, torch.float64)
    if bool((x.abs() > LARGEST).any()):
        raise InputError(f"Column 'x' holds numbers beyond {LARGEST:g}, whose squares overflow: scale the columns.")
    return x + 0.0


def bucketed(rows: Rows, capacity: int) -> Buckets:
    """These rows in buckets of at most `capacity`."""
    table = in_key_order(rows)
    y = numbers("y", target(table), torch.int64 if rows.classes else torch.float64)
    everything = Bucket(_keys(table.keys), measurable(table.columns), y if rows.classes else y + 0.0)
    return _divided(everything, "", capacity)


def without(buckets: Buckets, keys: Keys, capacity: int) -> Buckets:
    """The buckets without the rows of these keys; those that held none of them are the same objects.

    Raises:
        InputError: a key is in no bucket.
    """
    after, touched = dict(buckets), []
    for name, leaving in _by_bucket(buckets, keys).items():
        bucket = buckets[name]
        stays = torch.from_numpy(~np.isin(bucket.keys.numpy(), leaving))
        if int(stays.sum()) != len(bucket) - len(leaving):
            raise InputError(ABSENT)
        after[name] = _taken(bucket, stays)
        touched.append(name)
    for name in touched:
        _join(after, name, capacity)
    return after


def with_rows(buckets: Buckets, added: Rows, capacity: int) -> Buckets:
    """The buckets with these rows too; those that get none are the same objects.

    Raises:
        DuplicateRows: a row is there already.
    """
    after, names = dict(buckets), sorted(buckets)
    new = in_order(bucketed(added, capacity))
    homes = [holder(names, key) for key in new.keys.tolist()]
    for name in dict.fromkeys(found for found in homes if found is not None):
        _put(after, name, _taken(new, torch.tensor([found == name for found in homes])), capacity)
    for row in [row for row, found in enumerate(homes) if found is None]:
        one, names = _taken(new, slice(row, row + 1)), sorted(after)
        key = one.keys.tolist()[0]
        _put(after, holder(names, key) or home(names, key), one, capacity)
    return after


def in_order(buckets: Buckets) -> Bucket:
    """All rows, by key."""
    return _stacked([buckets[name] for name in sorted(buckets)])


def rows_at(buckets: Buckets, keys: Keys) -> Bucket:
    """The rows of these keys, ascending; buckets that hold none of them are not touched.

    Raises:
        InputError: a key is in no bucket.
    """
    names, ordered = sorted(buckets), np.sort(keys)
    starts = np.array([int(name.ljust(64, "0"), 2) for name in names], dtype=np.uint64)
    which = np.searchsorted(starts, ordered, side="right") - 1
    parts = []
    for place in np.unique(which).tolist():
        bucket, wanted = buckets[names[place]], ordered[which == place]
        held = np.flatnonzero(np.isin(bucket.keys.numpy(), wanted))
        if len(held) < len(wanted):
            raise InputError(ABSENT)
        parts.append(_taken(bucket, torch.from_numpy(held)))
    return _stacked(parts)


def size(buckets: Buckets) -> int:
    """How many rows there are."""
    return sum(map(len, buckets.values()))


def _put(after: dict[str, Bucket], name: str, new: Bucket, capacity: int) -> None:
    """Add rows to the bucket `name`, or make it of them, and divide it where it is too large."""
    both = _stacked([after.pop(name), new]) if name in after else new
    keys = both.keys.numpy()
    if len(np.unique(keys)) < len(keys):
        raise DuplicateRows("A row to add is among the rows of the record already. Give new rows new ids.")
    after |= _divided(_taken(both, torch.from_numpy(np.argsort(keys))), name, capacity)


def _join(after: dict[str, Bucket], touched: str, capacity: int) -> None:
    """Make one bucket of the node that few enough rows are left under."""
    node = joined({name: len(bucket) for name, bucket in after.items()}, touched, capacity)
    below = [name for name in sorted(after) if name.startswith(node)]
    parts = [part for part in (after.pop(name) for name in below) if len(part)]
    if parts:
        after[node] = parts[0] if len(parts) == 1 else _stacked(parts)


def _by_bucket(buckets: Buckets, keys: Keys) -> dict[str, list[int]]:
    names, found = sorted(buckets), dict[str, list[int]]()
    for key in keys.tolist():
        name = holder(names, key)
        if name is None:
            raise InputError(ABSENT)
        found.setdefault(name, []).append(key)
    return found


def _divided(bucket: Bucket, prefix: str, capacity: int) -> dict[str, Bucket]:
    return {name: _taken(bucket, part) for name, part in buckets_of(bucket.keys.numpy(), capacity, prefix)}


def _taken(bucket: Bucket, where: Tensor | slice) -> Bucket:
    keys = bucket.keys.numpy()[where if isinstance(where, slice) else where.numpy()]
    return Bucket(_keys(keys), bucket.x[where].clone(), bucket.y[where].clone())


def _stacked(parts: Iterable[Bucket]) -> Bucket:
    listed = list(parts)
    keys = np.concatenate([part.keys.numpy() for part in listed])
    return Bucket(_keys(keys), torch.cat([part.x for part in listed]), torch.cat([part.y for part in listed]))


def _keys(keys: Keys) -> Tensor:
    return torch.from_numpy(np.array(keys, dtype=np.uint64))
