"""The networks of these experiments: convolutions of three sizes, and a small transformer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def small(outputs: int) -> nn.Module:
    """Two convolutions, 32 by 32 pictures of three colours."""
    return convolutions((3, 12, 24), outputs)


def medium(outputs: int) -> nn.Module:
    """Three convolutions."""
    return convolutions((3, 24, 48, 64), outputs)


def convolutions(widths: tuple[int, ...], outputs: int) -> nn.Module:
    """3x3 convolutions, each halved by the largest of four; then a linear layer on 4 by 4 means."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * widths[-1], outputs))


class Residual(nn.Module):
    """Two convolutions with batch normalisation beside the identity, or a projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.beside = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, outputs, height, width)."""
        return torch.relu(self.path(x) + self.beside(x))


def resnet(outputs: int) -> nn.Module:
    """Eight convolutions in three residual blocks."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        Residual(12, 12, 2), Residual(12, 24, 2), Residual(24, 48, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, outputs),
    )  # fmt: skip


class Embedded(nn.Module):
    """Faces of 32 by 32 to an embedding of 32 numbers, and from it to scores of persons."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.embedding = nn.Linear(32 * 16, 32)
        self.score = nn.Linear(32, outputs)

    def embed(self, x: Tensor) -> Tensor:
        """(rows, 32)."""
        pooled = nn.functional.adaptive_avg_pool2d(self.maps(x), 4)
        found: Tensor = self.embedding(pooled.flatten(1))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Scores (rows, persons)."""
        found: Tensor = self.score(torch.relu(self.embed(x)))
        return found


class Layer(nn.Module):
    """Attention and a two-layer network, each after a normalisation and beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.network = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """(rows, tokens, width)."""
        y = self.before(x)
        x = x + self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        found: Tensor = x + self.network(self.between(x))
        return found


class Transformer(nn.Module):
    """Two layers of width 32 over at most 64 tokens; the first token's state is read, as in the paper."""

    def __init__(self, outputs: int, vocabulary: int, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(64, width)
        self.layers = nn.ModuleList([Layer(width), Layer(width)])
        self.norm, self.score = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Scores (rows, outputs)."""
        x = self.tokens(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        for layer in self.layers:
            x = layer(x, attention_mask == 0)
        found: Tensor = self.score(self.norm(x[:, 0]))
        return found
