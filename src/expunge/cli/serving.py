"""`expunge predict` and `expunge export`: the release, and never the record behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli import files
from expunge.cli.options import Json, KeyFile, RowsFile, VaultPath
from expunge.cli.output import say, show_json

if TYPE_CHECKING:
    from torch import Tensor

    from expunge.rows import Rows
    from expunge.schema import Schema


def predict(
    vault: VaultPath,
    rows: RowsFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="CSV, JSON or npz file of predictions.")],
    id: Annotated[  # noqa: A002
        str | None, typer.Option("--id", metavar="COL", help="Column of the rows' ids, where it differs from learn's.")
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Predict rows with the release of a vault.

    A target column in the file is not looked at.
    """
    from expunge.features.pipeline import needs_target
    from expunge.vault import Vault

    files.check_place(out)
    with Vault.open(vault, key_file=key_file) as opened:
        schema = opened.schema
        given = files.read_unlabelled(rows, files.Source.of(vault).given(None, id, None), schema)
        scores = opened.predict(given.columns)
        clusters = not needs_target(opened.method)
    files.write_predictions(out, _clusters(given, scores) if clusters else _predictions(given, scores, schema))
    if json:
        show_json({"rows": len(given), "out": str(out)})
    else:
        say(f"Predicted {len(given)} rows into {out}.")


def export(
    vault: VaultPath,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; made where it is absent.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Write the release for serving: safetensors and a model card.

    A linear model is written in scikit-learn's form too. The record that the vault keeps is never exported.
    """
    from expunge.cli.model_card import write_release
    from expunge.vault import Vault

    with Vault.open(vault, key_file=key_file) as opened:
        report = write_release(opened, out)
    if json:
        show_json(report)
    else:
        say(f"Exported release {report['digest'][:16]} to {out}: {', '.join(report['files'])}.")


def _clusters(rows: Rows, scores: Tensor) -> dict[str, Any]:
    """id, the number of the nearest centroid, and the distance to it."""
    import numpy as np

    nearest = scores.detach().cpu().double().max(dim=1)
    distances = np.sqrt(np.maximum(-nearest.values.numpy(), 0.0))
    return {"id": np.array(rows.ids.tolist(), dtype=object), "cluster": nearest.indices.numpy(), "distance": distances}


def _predictions(rows: Rows, scores: Tensor, schema: Schema) -> dict[str, Any]:
    """id, prediction, and for a classification the probability of each class."""
    import numpy as np

    values = scores.detach().cpu().double().numpy().reshape(len(rows), -1)
    columns: dict[str, Any] = {"id": np.array(rows.ids.tolist(), dtype=object)}
    if not schema.classes:
        names = ["prediction"] if values.shape[1] == 1 else [f"prediction {k}" for k in range(values.shape[1])]
        return columns | dict(zip(names, values.T, strict=True))
    probabilities = np.exp(values)
    columns["prediction"] = np.asarray(schema.classes)[values.argmax(axis=1)]
    return columns | {f"p({name})": probabilities[:, k] for k, name in enumerate(schema.classes)}
