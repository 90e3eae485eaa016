"""What `expunge export` writes: the release, its digest, a card that says what it is, and a linear model's own form.

Only functions of the release and of public settings are written: whoever serves this folder serves no record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.cli.linear_form import linear_form
from expunge.cli.output import in_words, plain

if TYPE_CHECKING:
    from torch import Tensor

    from expunge.method import Method
    from expunge.schema import Schema
    from expunge.vault import Vault

BINARY = 2
LOAD = """\
```python
import numpy as np
from sklearn.linear_model import {estimator}

held = np.load("scikit_learn.npz")
model = {estimator}()
{assignments}
model.predict(x)  # {inputs}
```
"""


def write_release(vault: Vault, out: Path) -> dict[str, Any]:
    """Write the folder; returns what `--json` prints: digest, files, settings."""
    import safetensors.torch

    from expunge import record
    from expunge.learners.featured import features_of

    release, method, schema, status = vault.release(), vault.method, vault.schema, vault.status()
    out.mkdir(parents=True, exist_ok=True)
    description = {
        "number": status["release"]["number"],
        "digest": record.digest(release),
        "features": [type(feature).__name__ for feature in features_of(method)],
        "method": record.encode(method)[0],
        "settings": record.encode(dict(release.settings))[0],
        "columns": [[column.name, column.kind, list(column.shape)] for column in schema.columns],
        "classes": list(schema.classes),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in release.tensors.items()}
    safetensors.torch.save_file(tensors, out / "release.safetensors", {"digest": description["digest"]})
    (out / "release.json").write_text(json.dumps(plain(description), indent=2) + "\n")
    linear = linear_form(method, release)
    if linear is not None:
        _write_linear(out / "scikit_learn.npz", linear, schema)
    (out / "MODEL_CARD.md").write_text(_card(description, schema, method, in_words(status["certificate"]), linear))
    return {**description, "out": str(out), "files": sorted(path.name for path in out.iterdir())}


def _write_linear(path: Path, linear: tuple[Tensor, Tensor], schema: Schema) -> None:
    """scikit-learn's attributes; of two classes it keeps one row of coefficients, for the second class."""
    import numpy as np

    coefficients, intercepts = (tensor.detach().cpu().double().numpy() for tensor in linear)
    arrays = {"coef_": coefficients, "intercept_": intercepts}
    if schema.classes:
        arrays["classes_"] = np.array(schema.classes)
    if len(schema.classes) == BINARY and len(coefficients) == BINARY:
        arrays |= {name: np.diff(arrays[name], axis=0) for name in ("coef_", "intercept_")}
    np.savez(path, allow_pickle=False, **arrays)


def _unclassed(schema: Schema) -> str:
    return "none, there is no target" if schema.target is None else "none, a regression"


def _card(
    description: Mapping[str, Any],
    schema: Schema,
    method: Method[Any],
    certificate: str,
    linear: tuple[Tensor, Tensor] | None,
) -> str:
    """The model card, in Markdown."""
    features = description["features"]
    lines = [
        "# Model card",
        "",
        f"- **Release**: number {description['number']}, SHA-256 `{description['digest']}`",
        f"- **Method**: {_name(method)}" + (f" on features {', '.join(features)}" if features else ""),
        f"- **Columns**: {', '.join(name for name, _, _ in description['columns'])}",
        f"- **Classes**: {', '.join(description['classes']) or _unclassed(schema)}",
        f"- **Guarantee of the last step**: {certificate}",
        "",
        "`release.safetensors` holds the tensors that predictions are made from, noise included; `release.json` the",
        "method, its settings and the digest. The record that the vault keeps to be able to forget is not here and",
        "must not be served. Serve a new export after each forgetting, and withdraw the old one.",
        "",
    ]
    if linear is not None:
        classes = bool(description["classes"])
        lines += ["## In scikit-learn", "", LOAD.format(**_loading(classes, bool(features)))]
    return "\n".join(lines)


def _name(method: Method[Any]) -> str:
    from expunge.features import Pipeline

    return type(method.method if isinstance(method, Pipeline) else method).__name__


def _loading(classes: bool, features: bool) -> dict[str, str]:
    names = ["coef_", "intercept_", *(["classes_"] if classes else [])]
    return {
        "estimator": "LogisticRegression" if classes else "LinearRegression",
        "assignments": "\n".join(f'model.{name} = held["{name}"]' for name in names),
        "inputs": "features in the order of release.json" if features else "the column x",
    }
