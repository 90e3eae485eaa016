"""`audit_models`: two checkpoints of any model, without a vault; and how to read a checkpoint.

A checkpoint is a safetensors file of weights, for a module built by `--model path.py:name`, or an npz file of scores:
`ids` (n,) and `scores` (n, outputs), of every row that is compared.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from expunge.audits import verdict
from expunge.audits.audit import Audit, Claim, Costs
from expunge.audits.candidates import Candidate, module_candidate, scored
from expunge.audits.comparison import compare
from expunge.audits.panel import Subject
from expunge.errors import InputError
from expunge.models import ModuleFile
from expunge.rows import Rows
from expunge.schema import Schema


def audit_models(
    before: Candidate,
    after: Candidate,
    *,
    retained: Rows,
    forgotten: Rows,
    test: Rows | None = None,
    references: Sequence[Candidate] = (),
    repeats: Sequence[tuple[Candidate, Candidate]] = (),
    name: str = "two checkpoints",
) -> Audit:
    """Audit the model `after`, of which it is said that it forgot rows that `before` was trained on.

    Args:
        references: models trained by the same procedure without the forgotten rows; the null band needs two. Without
            any there is no band, and the figures say little.
        repeats: more models (before, after), trained and made to forget the same rows under seeds of their own.
    """
    first = references[0] if references else None
    compared = compare(Subject(before, after, first, references, repeats), retained, forgotten, test)
    same = bool(before.tensors) and before.tensors.keys() == after.tensors.keys()
    same = same and all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)
    raised = verdict.flags(compared, same)
    claim = Claim(None, "Nothing is claimed: two checkpoints carry no certificate.")
    return Audit(
        subject=name,
        certificate=None,
        retained=len(retained),
        forgotten=len(forgotten),
        test=0 if test is None else len(test),
        references=len(references),
        measures=compared.measures,
        attacks=compared.attacks,
        apart=compared.apart,
        claim=claim,
        costs=Costs(None, None),
        exposure=compared.exposure,
        contradictions=(),
        flags=raised,
        verdict=verdict.verdict(compared, claim, (), raised, len(references)),
        scores=compared.scores,
        repeats=len(repeats),
        over_models=compared.over_models,
    )


def read_checkpoint(path: Path, model: str | None, schema: Schema) -> Candidate:
    """The model stored in `path`.

    Args:
        path: `.safetensors` weights, or `.npz` with `ids` and `scores`. model: "path.py:name" of what builds the module
            (weights only). schema: of the rows, handed to the builder.

    Raises:
        InputError: the file cannot be read, or does not fit the module.
    """
    if path.suffix == ".npz":
        return _scores(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is neither .safetensors (weights) nor .npz (ids and scores).")
    if model is None:
        raise InputError(f"{path} holds weights: say what builds the module, as path.py:name, or give .npz scores.")
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} could not be read as safetensors: {error}.") from error
    module = ModuleFile.read(model).build(schema)
    own = module.state_dict()
    if missing := sorted(set(own) ^ set(tensors)):
        raise InputError(f"{path} and the module of {model} differ in their tensors: {missing[:5]}.")
    if misshapen := [name for name in sorted(own) if own[name].shape != tensors[name].shape]:
        name = misshapen[0]
        raise InputError(f"{path} holds {name!r} as {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}.")
    module.load_state_dict(tensors)
    return module_candidate(module, tensors)


def _scores(path: Path) -> Candidate:
    try:
        with np.load(path, allow_pickle=False) as held:
            return scored(held["ids"], held["scores"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} needs the arrays `ids` and `scores`: {error}.") from error
