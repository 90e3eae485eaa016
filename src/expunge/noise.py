"""Secret noise: what a certificate rests on.

A `NoiseKey` is 32 bytes from the operating system, bound to one release number. It is stored only until its step is
durable, then erased: whoever holds it can subtract the noise. It never derives from the public seed of `keyed.py`.
The stream is ChaCha20 under BLAKE2b(secret, release, purpose); normals are a sign and the inverse normal distribution
function of a 127-bit uniform in (0, 1/2) (both tails cut at about 13 standard deviations, probability 2^-128).
"""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import dataclass, field

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray
from scipy.special import ndtri

GRID_BITS = 20  # a release keeps 20 bits below its noise: far finer than the noise, far coarser than float64


@dataclass(frozen=True)
class NoiseKey:
    """A secret, and the number (from 1, counted from the vault's first) of the one release it may noise."""

    secret: bytes = field(repr=False)
    release: int

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise ValueError(f"A noise key has 32 bytes, not {len(self.secret)}: use NoiseKey.fresh(release).")
        if self.release < 1:
            raise ValueError(f"Releases are counted from 1, not {self.release}.")

    @classmethod
    def fresh(cls, release: int = 1) -> NoiseKey:
        """A new key from the operating system's generator."""
        return cls(secrets.token_bytes(32), release)

    def normals(self, purpose: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent standard normals of `shape`, a function of (secret, release, purpose) alone."""
        count = math.prod(shape)
        words = np.frombuffer(self._stream(purpose, 16 * count), dtype="<u8").reshape(2, count)
        sign = np.where(words[0] >> np.uint64(63), 1.0, -1.0)
        high = (words[0] & np.uint64(2**63 - 1)).astype(np.float64)
        uniforms = (high + (words[1].astype(np.float64) + 0.5) * 2.0**-64) * 2.0**-64
        return np.asarray(sign * -ndtri(uniforms), dtype=np.float64).reshape(shape)

    def _stream(self, purpose: str, size: int) -> bytes:
        label = f"{self.release}:{purpose}".encode()
        key = hashlib.blake2b(label, key=self.secret, digest_size=32, person=b"expunge-noise").digest()
        return Cipher(algorithms.ChaCha20(key, b"\0" * 16), mode=None).encryptor().update(b"\0" * size)


def add_noise(weights: torch.Tensor, noise_std: float, noise: NoiseKey, purpose: str = "release") -> torch.Tensor:
    """`weights + noise_std * xi`, rounded to a grid so that low bits tell nothing (Mironov 2012).

    Args:
        weights: float64, any shape.
        noise_std: standard deviation on every coordinate; 0 returns the weights themselves.
        noise: the key of this release. purpose: separates streams of one release.

    Raises:
        ValueError: `noise_std` is negative or not finite, or the weights are not float64.
    """
    if not 0 <= noise_std < math.inf:
        raise ValueError(f"noise_std must be finite and at least 0, not {noise_std}.")
    if weights.dtype != torch.float64:
        raise ValueError(f"Noise is added in float64; the weights given are {weights.dtype}. Convert them first.")
    if noise_std == 0:
        return weights.clone()
    xi = torch.from_numpy(noise.normals(purpose, tuple(weights.shape))).to(weights.device)
    grid = 2.0 ** (math.floor(math.log2(noise_std)) - GRID_BITS)
    return torch.round((weights + noise_std * xi) / grid) * grid
