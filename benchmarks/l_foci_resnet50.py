"""One L-FOCI step on a ResNet-50 of 24 million weights: 1,000 perturbations of a 256 x 128 image, and a small network.

    python benchmarks/l_foci_resnet50.py            two threads
    python benchmarks/l_foci_resnet50.py small      only the small network

Weights are random and the images noise: what is measured is time and memory. The paper names three minutes on a GPU.
"""

from __future__ import annotations

import os
import resource
import sys
import time

os.environ["OMP_NUM_THREADS"] = "2"

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from expunge import NoiseKey, Rows
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.methods.l_foci import LFociRecord
from expunge.models import Model
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver
from expunge.schema import Schema

THREADS = 2


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch normalisation, beside the identity or a projection."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        same = inputs == 4 * width and stride == 1
        self.beside = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Scores of (rows, inputs, height, width)."""
        return torch.relu(self.path(x) + self.beside(x))


class Images(Model):
    """Builds a network for images; frozen by having no settings that change."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        del schema, outputs
        return self.network


def resnet50(classes: int) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def small(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 52), nn.ReLU(), nn.Linear(52, classes),
    )  # fmt: skip


def measured(name: str, network: nn.Module, shape: tuple[int, ...], rows: int, classes: int, method: LFoci) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, *shape)).astype(np.float32)
    table = Rows.of({"x": x}, generator.integers(0, classes, rows), classes=classes)
    learner = method.learner
    record = LFociRecord(learner.adopt(table.schema, network.state_dict()), rows, 0)
    retained, forgotten = table.without([0]), table.only([0])
    start, clock = time.process_time(), time.perf_counter()
    step = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(1))
    cpu, wall = time.process_time() - start, time.perf_counter() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"{name}: {weights / 1e6:.2f} M weights, {step.stats['slices']:.0f} slices with {step.stats['weights']:.0f} "
        f"weights changed; {wall:.2f} s ({cpu:.2f} CPU s), peak memory {memory:.1f} GB",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    secant = BlockSolver("secant")
    for network, shape, name in ((small(10), (1, 28, 28), "small CNN"),):
        method = LFoci(
            Sgd(Images(network)), Selection(threads=THREADS), Perturbation(300), secant, max_accuracy_drop=1.0
        )
        for _ in range(3):  # the first compiles
            measured(name, network, shape, 20, 10, method)
    if "small" not in sys.argv:
        network = resnet50(751)
        for selector in ("cheapest", "l_foci"):
            method = LFoci(
                Sgd(Images(network)), Selection(selector, threads=THREADS, most=10), Perturbation(1000), secant,
                curvature_rows=8, max_accuracy_drop=1.0,
            )  # fmt: skip
            measured(f"ResNet-50, {selector}", network, (3, 256, 128), 9, 751, method)


if __name__ == "__main__":
    main()
