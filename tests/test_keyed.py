"""The public generator is a real PRF, uniform, and a function of (seed, purpose, key) alone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from expunge import keyed

KEYS = keyed.keys_of(range(20_000))


def test_siphash_equals_the_official_vectors() -> None:
    # Aumasson & Bernstein 2012, appendix A: key 00..0f, message 00..0e is a129ca6149be45e5; the reference program's
    # table of vectors gives 3f2acc7f57c29bdb for the 16-byte message 00..0f.
    def word(first: int) -> int:
        return int.from_bytes(bytes(range(first, first + 8)), "little")

    found = keyed._siphash(word(0), word(8), np.array([word(0)], dtype=np.uint64), word(8))
    assert hex(int(found[0])) == "0x3f2acc7f57c29bdb"


@pytest.mark.parametrize("seed", range(3))
def test_uniforms_are_uniform_over_consecutive_ids(seed: int) -> None:
    assert stats.kstest(keyed.uniforms(seed, ("shard",), KEYS), "uniform").pvalue > 1e-3


def test_uniforms_stay_inside_the_open_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 2**64 - 1):
        monkeypatch.setattr(keyed, "bits", lambda *_args, word=word: np.array([word], dtype=np.uint64))
        uniform = keyed.uniforms(0, ("edge",), np.zeros(1, dtype=np.uint64))
        assert 0 < uniform[0] < 1
        assert np.isfinite(keyed.normals(0, ("edge",), (1,))).all()


def test_streams_of_other_seeds_purposes_and_counters_are_independent() -> None:
    streams = [
        keyed.uniforms(0, ("a",), KEYS),
        keyed.uniforms(1, ("a",), KEYS),
        keyed.uniforms(0, ("b",), KEYS),
        keyed.uniforms(0, ("a", 0), KEYS),
        keyed.uniforms(0, ("a",), KEYS, counter=1),
    ]
    for x, y in itertools.combinations(streams, 2):
        assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(len(KEYS))


def test_purposes_are_encoded_without_ambiguity() -> None:
    keys = KEYS[:4]
    purposes = [("a", "b"), ("ab",), ("a", 1), ("a1",), ("a", "1"), (1,), ("1",), ()]
    drawn = {keyed.bits(0, purpose, keys).tobytes() for purpose in purposes}
    assert len(drawn) == len(purposes)


def test_one_flipped_bit_of_a_key_flips_half_of_the_output() -> None:
    before = keyed.bits(0, ("avalanche",), KEYS[:500])
    for bit in range(64):
        after = keyed.bits(0, ("avalanche",), KEYS[:500] ^ np.uint64(1 << bit))
        flipped = np.bitwise_count(before ^ after).mean()
        assert abs(flipped - 32) < 1  # standard error 0.18


def test_normals_are_standard_normal() -> None:
    drawn = keyed.normals(3, ("weights",), (100, 200))
    assert drawn.shape == (100, 200)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / drawn.size)


def test_integers_are_uniform() -> None:
    counts = np.bincount(keyed.integers(0, ("shard",), KEYS, 7), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("below", [0, -1, 2**32 + 1])
def test_integers_refuse_a_range_they_cannot_draw_from(below: int) -> None:
    with pytest.raises(ValueError, match="below"):
        keyed.integers(0, ("shard",), KEYS, below)


def test_every_permutation_of_four_keys_is_equally_likely() -> None:
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(4_800):
        order = tuple(keyed.permutation(seed, ("order",), KEYS[:4]).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 24
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_removing_a_key_never_reorders_the_others() -> None:
    keys = KEYS[:200]
    order = keys[keyed.permutation(0, ("order",), keys)]
    for gone in range(0, 200, 7):
        rest = np.delete(keys, gone)
        assert np.array_equal(rest[keyed.permutation(0, ("order",), rest)], order[order != keys[gone]])


def test_removing_an_unchosen_key_never_changes_a_sample() -> None:
    keys = KEYS[:200]
    sample = keys[keyed.k_smallest(0, ("sample",), keys, 20)]
    for gone in np.flatnonzero(~np.isin(keys, sample)):
        rest = np.delete(keys, gone)
        assert np.array_equal(rest[keyed.k_smallest(0, ("sample",), rest, 20)], sample)


def test_removing_a_chosen_key_lets_one_more_in() -> None:
    keys = KEYS[:200]
    sample = set(keys[keyed.k_smallest(0, ("sample",), keys, 20)].tolist())
    gone = min(sample)
    rest = keys[keys != gone]
    assert len(set(rest[keyed.k_smallest(0, ("sample",), rest, 20)].tolist()) - sample) == 1


def test_the_order_of_keys_does_not_matter() -> None:
    keys = KEYS[:100]
    shuffled = keys[::-1]
    assert np.array_equal(keyed.bits(5, ("x",), keys)[::-1], keyed.bits(5, ("x",), shuffled))
    assert np.array_equal(keys[keyed.permutation(5, ("x",), keys)], shuffled[keyed.permutation(5, ("x",), shuffled)])


def test_an_integer_and_its_text_are_the_same_id() -> None:
    assert keyed.key_of(7) == keyed.key_of("7") == int(keyed.keys_of([np.int64(7)])[0])
    assert keyed.key_of("7") != keyed.key_of("07")


def test_a_numpy_seed_draws_as_the_same_python_integer() -> None:
    assert np.array_equal(keyed.bits(np.int64(3), ("x",), KEYS[:3]), keyed.bits(3, ("x",), KEYS[:3]))  # type: ignore[arg-type]


def test_other_processes_draw_the_same() -> None:
    code = (
        "from expunge import keyed\n"
        "keys = keyed.keys_of(['ann', 'bob', 3])\n"
        "drawn = keyed.bits(11, ('p', 2), keys).tolist()\n"
        "print(drawn, keyed.subseed(11, 'q'), keyed.normals(1, ('n',), (2,)).tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = (
        f"{keyed.bits(11, ('p', 2), keyed.keys_of(['ann', 'bob', 3])).tolist()} {keyed.subseed(11, 'q')} "
        f"{keyed.normals(1, ('n',), (2,)).tolist()}\n"
    )
    assert runs == {here}


def test_subseeds_differ_and_fit_in_63_bits() -> None:
    seeds = {keyed.subseed(0, "shard", number) for number in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
