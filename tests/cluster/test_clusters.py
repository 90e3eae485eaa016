"""SISA's shards on dask and ray: the same bits, errors that come through, and no waiting for a worker that is gone.

`make test-cluster` installs the extras and runs this; without them these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tests.learners.dying import Dying

from expunge.comparisons import Case, Entry, Plan, Workers, compare
from expunge.comparisons.clusters import reached
from expunge.errors import InputError, WorkersLost
from expunge.features import Numeric
from expunge.learners.convex import Convex
from expunge.learners.featured import Featured
from expunge.learners.learner import Learner
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.methods import CertifiedNewton
from expunge.methods.sisa import Sisa
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the clusters' own
Cluster = Callable[[], AbstractContextManager[Any]]
NOISE = NoiseKey(bytes(32), 1)
REASON = "is not installed: make test-cluster installs the extras ray and dask, and runs these tests"
NETWORK = Sgd(Mlp((3,)), epochs=30, batch_size=4)  # long enough for a worker's own draws to fall into it


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason=f"dask.distributed {REASON}")
    folder = Path(tempfile.mkdtemp(prefix="dask-"))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(folder)
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else ray writes a token into the home folder
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (its name); else its workers starve beside other work on few cores
    ray = pytest.importorskip("ray", reason=f"ray {REASON}")
    from ray.util.joblib import register_ray

    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    path = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}}
    # More than two, so that new workers need not wait for those of the call before to be gone.
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder), runtime_env=path)
    register_ray()
    yield ray
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """What stands around a call; made when it is asked for, since from then on it holds."""
    request.getfixturevalue(f"{request.param}_cluster")
    return partial(joblib.parallel_config, backend=request.param, n_jobs=2)


def some_rows() -> Rows:
    x = np.random.default_rng(0).normal(size=(60, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int))


def asked(method: Sisa) -> Any:
    """Learn and forget: the digests of both records."""
    rows, ids = some_rows(), [1, 2, 3, 4]
    record = method.learn(rows, seed=5, noise=NOISE)
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)
    return [digest(each) for each in (record, step.record)]


def test_a_cluster_gives_the_same_bits(cluster: Cluster) -> None:
    method = Sisa(Featured((Numeric(("x",)),), NETWORK), 4, 2)
    alone = asked(method)
    with cluster():
        assert asked(method) == alone


@pytest.mark.parametrize("learner", [Convex(), ScikitLearn("GaussianNB")], ids=["convex", "bayes"])
def test_dask_gives_the_same_bits_for_every_learner(dask_cluster: Any, learner: Learner) -> None:
    method = Sisa(learner, 4, 2)
    alone = asked(method)
    with joblib.parallel_config(backend="dask"):
        assert asked(method) == alone


def test_what_a_training_says_on_purpose_comes_through(cluster: Cluster) -> None:
    with cluster(), pytest.raises(InputError, match="cannot be learned"):
        asked(Sisa(Dying("fails"), 4, 1))


def test_a_worker_that_does_not_answer_is_not_waited_for(cluster: Cluster) -> None:
    start = time.monotonic()
    with cluster(), pytest.raises(WorkersLost, match="Nothing was changed"):
        asked(Sisa(Dying("hangs", seconds=10), 4, 1, timeout=1.0))
    assert time.monotonic() - start < 60
    time.sleep(max(0.0, 12 - (time.monotonic() - start)))  # the hanging worker comes back


def test_a_worker_that_dies_is_not_waited_for(cluster: Cluster) -> None:
    start = time.monotonic()
    with cluster(), pytest.raises(WorkersLost, match="Nothing was changed"):
        asked(Sisa(Dying("dies"), 4, 1, timeout=8.0))
    assert time.monotonic() - start < 100


def test_a_comparison_finds_the_same_on_a_cluster(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    backend = request.node.callspec.params["cluster"]
    rows, unseen = some_rows(), Rows.of(np.random.default_rng(1).normal(size=(20, 3)), [0, 1] * 10, ids=range(100, 120))
    case = Case.of("3 rows", rows, ["1", "2", "3"], unseen)
    entries = [Entry("newton", CertifiedNewton()), Entry("shards", Sisa(NETWORK, 2, 2))]
    plan, found = Plan(seeds=1, references=2), []
    for folder, workers in (("alone", Workers()), ("cluster", Workers(backend, 2))):
        with reached(workers):
            measured = compare(entries, [case], plan, tmp_path / folder, workers, lambda *_: None)
        found.append([[each.facts["digests"] for each in (*one.steps, *one.references)] for one in measured])
        names = {file.name for file in (tmp_path / folder / "cells").iterdir()}
        found.append([sorted(names)])
    assert found[0] == found[2]
    assert found[1] == found[3]
