"""Runs pytest on mutated copies of the package, each in a fork of a process that has imported only what is not ours.

Reads lines "source-folder<TAB>node" and answers each with pytest's exit code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NUMBA_DISABLE_JIT"] = "1"  # every mutant is another copy of the kernels, and compiling one takes a minute

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
import hypothesis.strategies  # noqa: F401
import joblib  # noqa: F401
import numba  # noqa: F401
import numpy as np  # noqa: F401
import pandas as pd  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import scipy.optimize
import scipy.sparse
import scipy.special
import scipy.stats  # noqa: F401
import sklearn.linear_model
import sklearn.naive_bayes
import sklearn.neighbors
import sklearn.neural_network
import sklearn.svm  # noqa: F401
import torch

torch.set_num_threads(1)

BROKEN = 99  # pytest itself failed, or tested another copy of the package


def run(source: str, nodes: list[str]) -> int:
    """Pytest's exit code for these nodes against the package in `source`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.path.insert(0, source)
    os.environ["PYTHONPATH"] = source
    code = BROKEN
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", *nodes]))
        if not Path(str(sys.modules["expunge"].__file__)).is_relative_to(source):
            code = BROKEN
    finally:
        os._exit(code)


for line in sys.stdin:
    folder, *nodes = line.rstrip("\n").split("\t")
    sys.stdout.write(f"{run(folder, nodes)}\n")
    sys.stdout.flush()
