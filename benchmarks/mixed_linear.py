"""Mixed-linear forgetting on digits and MNIST, and a certified head on random convolutional features of CIFAR-10.

    python benchmarks/mixed_linear.py shares digits
    python benchmarks/mixed_linear.py mnist      (needs mnist.npz; many minutes)
    python benchmarks/mixed_linear.py cifar      (needs cifar10_12k.npz)

Distances are between noiseless centres. The files are read from ../shared/data, or from the folder in EXPUNGE_DATA.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.features import FrozenNetwork, Pipeline
from expunge.learners.linearised_network import trained
from expunge.learners.marked_rows import parted
from expunge.learners.sgd import Sgd
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.mixed_linear import MixedLinear
from expunge.models import Mlp, SmallConvNet

DATA = Path(os.environ.get("EXPUNGE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def forgetting(method: Any, rows: Rows, ids: list[str], accuracy: Callable[[Any], float]) -> str:
    """Learn, forget, learn again: seconds, and distances between noiseless centres."""
    keys = [NoiseKey.fresh(number) for number in (1, 2, 2, 2)]
    record, learning = timed(lambda: method.learn(rows, seed=0, noise=keys[0]))
    retained, gone = rows.without(ids), rows.only(ids)
    step, seconds = timed(lambda: method.forget(record, retained, gone, noise=keys[1]))
    again, cold = timed(lambda: method.learn(retained, seed=0, noise=keys[2]))
    other = method.learn(retained, seed=0, noise=keys[3]) if cold < 60 else None
    releases = [method.release(each) for each in (record, step.record, again)]
    before, after, clean = (method.centre(*each) for each in zip(releases, keys[:3], strict=True))
    band = float((clean - method.centre(method.release(other), keys[3])).norm()) if other else float("nan")
    told = step.certificate
    return (
        f"d {len(clean)}, learn {learning:.2f} s, forget {seconds:.2f} s ({step.stats}), cold {cold:.2f} s, ratio "
        f"{cold / seconds:.1f}; distance {float((after - clean).norm()):.1e}, doing nothing "
        f"{float((before - clean).norm()):.2e}, retrain/retrain {band:.1e}, allowed {told.distance:.1e}; accuracy "
        f"before/after/again {' / '.join(f'{accuracy(each):.4f}' for each in releases)}"
    )


def digits_of(share: float) -> tuple[Rows, Callable[[torch.Tensor], float], dict[str, Any]]:
    """1,437 rows, that share of them core; the accuracy of scores on 360 others, and the columns of these."""
    data, n = load_digits(), 1437
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 8 - 1, data.target[order]
    x = 3 * x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = Rows.of({"x": x[:n], "core": np.arange(n) >= n - round(share * n)}, y[:n], classes=10)
    return rows, lambda scores: float((scores.argmax(1).numpy() == y[n:]).mean()), {"x": x[n:], "y": y[n:]}


NETWORK = Sgd(model=Mlp((64,)), epochs=30, learning_rate=0.1)


def shares() -> None:
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        rows, right, test = digits_of(share)
        core, users = parted(rows, "core")
        alone, everyone = trained(NETWORK, core, 0), Rows((*core.blocks, *users.blocks), core.schema)
        tuned = NETWORK.train(NETWORK.adopt(core.schema, alone.tensors), users, seed=0, purpose=("tune",))
        others = (alone, NETWORK.release(tuned), trained(NETWORK, everyone, 0))
        told = " / ".join(f"{right(NETWORK.predict(each, test)):.4f}" for each in others)
        print(f"core {share:.0%}: core alone / fine-tuned on users / trained on all {told}")
        for scale in (1.0, 2.0, 5.0, 10.0):
            method, key = MixedLinear(core=NETWORK, target_scale=scale), NoiseKey.fresh(1)
            record = method.learn(rows, seed=0, noise=key)
            release = method.release(record)
            quiet = method.release(replace(record, weights=method.centre(release, key)))
            noisy, clean = (method.predict(each, test) for each in (release, quiet))
            loss = -float(noisy[np.arange(len(noisy)), test["y"]].mean())
            print(f"    targets times {scale:g}: {right(noisy):.4f}, without noise {right(clean):.4f}, loss {loss:.3f}")


def digits() -> None:
    rows, right, test = digits_of(0.5)
    for m, rank in ((1, 100), (100, 100), (100, 400), (100, 1)):
        method, ids = MixedLinear(core=NETWORK, rank=rank), [str(i) for i in range(m)]
        told = forgetting(method, rows, ids, lambda r, method=method: right(method.predict(r, test)))
        print(f"forget {m}, rank {rank}: {told}", flush=True)


def mnist() -> None:
    data = np.load(DATA / "mnist.npz")
    x, y, test = data["X_train"][:1500] / 255.0, data["y_train"][:1500], data["X_test"][:2000] / 255.0
    rows = Rows.of({"x": x, "core": np.arange(1500) < 1000}, y.astype(int), classes=10)
    core = Sgd(model=SmallConvNet((8, 16, 32, 352)), epochs=10)
    alone = core.predict(trained(core, parted(rows, "core")[0], 0), {"x": test}).argmax(1).numpy()
    print(f"core alone {(alone == data['y_test'][:2000]).mean():.4f}")

    def right(release: Any) -> float:
        return float(
            (MixedLinear(core=core).predict(release, {"x": test}).argmax(1).numpy() == data["y_test"][:2000]).mean()
        )

    for rank in (50, 200):
        method = MixedLinear(core=core, layers=("parts.9", "parts.13"), l2=1e-2, rank=rank)
        print(f"rank {rank}: {forgetting(method, rows, [str(i) for i in range(1000, 1100)], right)}", flush=True)


def cifar() -> None:
    data = np.load(DATA / "cifar10_12k.npz")
    images, test = (np.ascontiguousarray(data[name].transpose(0, 3, 1, 2)) for name in ("X_train", "X_test"))
    features = FrozenNetwork(SmallConvNet((32, 64, 32)), origin="random", scale=4 / 255)
    head = CertifiedNewton(l2=1e-2, noise_std=0.01)
    worlds = (("pixels", head, 1 / 255), ("random features", Pipeline((features,), head), 1))
    for name, method, scale in worlds:
        rows = Rows.of({"x": scale * images[:2000]}, data["y_train"][:2000].astype(int), classes=10)

        def right(release: Any, method: Any = method, shown: Any = scale * test) -> float:
            return float((method.predict(release, {"x": shown}).argmax(1).numpy() == data["y_test"]).mean())

        print(f"{name}: {forgetting(method, rows, [str(i) for i in range(100)], right)}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or ["digits"]:
        {"shares": shares, "digits": digits, "mnist": mnist, "cifar": cifar}[chosen]()
