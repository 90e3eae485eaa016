"""Integers in digits of base 2^20 to the nearest float64: one rounding, half to even, subnormal numbers too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError

Ints = NDArray[np.int64]

UNIT = 1074  # the smallest positive float64 is 2^-1074
BASE_BITS = 20
FEW_DIGITS = 3  # that fit into an int64
SMALLEST_NORMAL = -1022  # exponent
_MASK = (1 << BASE_BITS) - 1


def nearest_of_few(wide: Ints, exponent: int) -> NDArray[np.float64]:
    """Signed digits, at most `FEW_DIGITS`, in normal units of 2^exponent: an int64 is converted to the nearest even."""
    total = np.zeros(wide.shape[1:], dtype=np.int64)
    for digit in wide[::-1]:
        total = (total << BASE_BITS) + digit
    with np.errstate(over="ignore"):
        return _finite(np.ldexp(total.astype(np.float64), exponent))


def magnitude(wide: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Digits of the absolute values, each in [0, 2^20), and where the numbers are negative."""
    negative = np.zeros(wide.shape[1:], dtype=bool)
    for digit in wide:  # the highest digit that is not 0 has the sign of the number
        negative = np.where(digit == 0, negative, digit < 0)
    out, carry = np.empty_like(wide), np.zeros(wide.shape[1:], dtype=np.int64)
    for k, digit in enumerate(wide):
        total = np.where(negative, -digit, digit) + carry
        out[k], carry = total & _MASK, total >> BASE_BITS
    return out, negative


def nearest(digits: Ints, exponent: int, negative: NDArray[np.bool_], below: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Digits in units of 2^exponent, and whether anything lies below them, to the nearest float64, half to even."""
    shape = digits.shape[1:]
    if not len(digits):
        return np.zeros(shape)
    padded = np.concatenate([np.zeros((3, *shape), dtype=np.int64), digits]).reshape(len(digits) + 3, -1)
    top = len(padded) - 1 - np.argmax(padded[::-1] != 0, axis=0)
    each = np.arange(padded.shape[1])
    one, two, three, four = (padded[top - k, each] for k in range(4))
    shift = BASE_BITS - np.frexp(one.astype(np.float64))[1].astype(np.int64)  # word: the 60 leading bits
    word = ((one << 2 * BASE_BITS | two << BASE_BITS | three) << shift) | (four >> (BASE_BITS - shift))
    deeper = (one != 0) & (np.argmax(padded != 0, axis=0) < top - 3)
    rest = deeper | (four & ((1 << (BASE_BITS - shift)) - 1) != 0)
    word |= rest | below.reshape(-1)  # a last bit that says "and more" is below the half that decides
    unit = exponent + BASE_BITS * (top - 5) - shift
    drop = np.clip(-UNIT - unit, 0, 61)  # subnormal: rounded here, as ldexp would round a second time
    half, kept = np.int64(1) << np.maximum(drop - 1, 0), word >> drop
    lost = word & ((np.int64(1) << drop) - 1)
    kept = kept + ((drop > 0) & ((lost > half) | ((lost == half) & (kept & 1 == 1))))
    tiny = unit + 60 < -UNIT + 53
    with np.errstate(over="ignore"):
        found = np.where(
            tiny, np.ldexp(kept.astype(np.float64), -UNIT), np.ldexp(word.astype(np.float64), np.where(tiny, 0, unit))
        )
    return _finite(np.where(negative.reshape(-1), -found, found)).reshape(shape)


def _finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isinf(numbers).any():
        raise InputError("A sum is beyond the largest float64: scale the columns down (features.Numeric does).")
    return numbers
