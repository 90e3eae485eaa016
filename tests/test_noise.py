"""Secret noise: standard normal, fresh for each release and purpose, never a function of the public seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from expunge import keyed, noise
from expunge.noise import NoiseKey, add_noise

KEY = NoiseKey(bytes(range(32)), 3)


def test_normals_are_standard_normal() -> None:
    drawn = KEY.normals("release", (200, 100))
    assert drawn.shape == (200, 100)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / drawn.size)


def test_normals_are_finite_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tails = []
    for pattern in (b"\x00" * 8, b"\x00" * 7 + b"\x80", b"\xff" * 8):
        monkeypatch.setattr(NoiseKey, "_stream", lambda _self, _purpose, n, pattern=pattern: pattern * (n // 8))
        drawn = KEY.normals("release", (3,))
        assert np.isfinite(drawn).all()
        tails.append(drawn[0])
    assert tails[0] < -8
    assert tails[1] > 8


def test_equal_keys_draw_equal_noise() -> None:
    again = NoiseKey(bytes(range(32)), 3)
    assert np.array_equal(KEY.normals("release", (50,)), again.normals("release", (50,)))


def test_releases_purposes_and_secrets_draw_independently() -> None:
    n = 20_000
    streams = [
        KEY.normals("release", (n,)),
        KEY.normals("features/0", (n,)),
        NoiseKey(KEY.secret, 4).normals("release", (n,)),
        NoiseKey(bytes(32), 3).normals("release", (n,)),
    ]
    for x, y in itertools.combinations(streams, 2):
        assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(n)


def test_fresh_keys_differ() -> None:
    assert len({NoiseKey.fresh().secret for _ in range(20)}) == 20


def test_noise_does_not_derive_from_the_public_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the public generator was asked for secret noise")

    public = {seed: keyed.normals(seed, ("release",), (50,)) for seed in range(20)}
    drawn = NoiseKey(bytes(32), 1).normals("release", (50,))
    assert not any(np.allclose(drawn, normals) for normals in public.values())
    for name in ("bits", "uniforms", "normals", "integers", "subseed"):
        monkeypatch.setattr(keyed, name, forbidden)
    assert np.array_equal(NoiseKey(bytes(32), 1).normals("release", (50,)), drawn)
    assert "keyed" not in vars(noise)


def test_repr_hides_the_secret() -> None:
    secret = b"this is the secret of 32 bytes!!"
    shown = f"{NoiseKey(secret, 2)!r} {NoiseKey(secret, 2)}"
    assert "release=2" in shown
    assert "secret of 32" not in shown
    assert secret.hex() not in shown


@pytest.mark.parametrize(("secret", "release"), [(b"short", 1), (bytes(33), 1), (bytes(32), 0)])
def test_a_wrong_key_is_refused(secret: bytes, release: int) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|counted from 1"):
        NoiseKey(secret, release)


def test_added_noise_has_the_stated_deviation_and_nothing_else() -> None:
    weights = torch.linspace(-5, 5, 20_000, dtype=torch.float64)
    noised = add_noise(weights, 0.25, KEY)
    xi = (noised - weights) / 0.25
    assert stats.kstest(xi.numpy(), "norm").pvalue > 1e-3
    assert torch.equal(noised, add_noise(weights, 0.25, KEY))
    assert torch.allclose(xi, torch.from_numpy(KEY.normals("release", (20_000,))), atol=1e-6)


@pytest.mark.parametrize("noise_std", [1e-9, 0.3, 1.0, 17.0])
def test_a_release_lies_on_a_grid_far_below_its_noise(noise_std: float) -> None:
    released = add_noise(
        torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), noise_std, KEY
    )
    grid = 2.0 ** (np.floor(np.log2(noise_std)) - noise.GRID_BITS)
    steps = released / grid
    assert torch.equal(steps, steps.round())
    assert 2.0 ** -(noise.GRID_BITS + 1) < grid / noise_std <= 2.0**-noise.GRID_BITS <= 1e-6


def test_no_noise_leaves_the_weights() -> None:
    weights = torch.tensor([0.1, 0.2], dtype=torch.float64)
    released = add_noise(weights, 0.0, KEY)
    assert torch.equal(released, weights)
    assert released.data_ptr() != weights.data_ptr()


def test_noise_refuses_what_it_cannot_noise() -> None:
    with pytest.raises(ValueError, match="noise_std"):
        add_noise(torch.zeros(2, dtype=torch.float64), -1.0, KEY)
    with pytest.raises(ValueError, match="noise_std"):
        add_noise(torch.zeros(2, dtype=torch.float64), float("nan"), KEY)
    with pytest.raises(ValueError, match="float64"):
        add_noise(torch.zeros(2), 1.0, KEY)
