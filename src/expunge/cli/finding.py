"""`expunge find`: which rows harm a model, and what forgetting them would change. Nothing is forgotten here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from expunge.cli import files
from expunge.cli.options import Json, KeyFile, VaultPath
from expunge.cli.output import UsageError, note, progress, say, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expunge.attribution import Performance, Ranking, TrainedModel, Trial
    from expunge.rows import Rows
    from expunge.vault import Vault

SHOWN = 10
By = Literal["influence", "self-influence", "loss", "nearest"]


def find(
    vault: VaultPath,
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="FILE", help="Rows that were never learned, and are right.")
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            "--by", help="influence on validation rows, self-influence (known by heart), loss, or nearest to --bad."
        ),
    ] = "influence",
    bad: Annotated[str | None, typer.Option("--bad", metavar="1,2", help="Ids of bad rows, for --by nearest.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="COL=VALUE", help="Rank by the gap: this group's validation loss minus the others'."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="How many rows to propose.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write their ids, one a line.")
    ] = None,
    attempt: Annotated[
        bool, typer.Option("--try", help="Forget 1/4, 1/2 and all of them in memory, and measure; commits nothing.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="SVG", help="With --try: predicted against measured, drawn.")
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Rank the rows of a vault by the harm they do, and predict what forgetting the first of them would change.

    Nothing is forgotten: give the ids to `request`. The ranking tells much about single rows, so keep it as you keep
    them.
    """
    from expunge.vault import Vault

    _check(by, validation, bad, group, attempt, plot)
    for place in (out, plot):
        files.check_place(place)
    with progress() as tell, Vault.open(vault, key_file=key_file) as opened:
        rows = opened.rows()
        if top >= len(rows):
            raise UsageError(f"--top {top} was given, and the vault holds {len(rows)} rows: fewer can leave.")
        held = files.read_test(validation, opened) if validation else None
        ranking, model = _ranked(opened, rows, held, by, bad, group)
        names = ranking.first(top)
        if out is not None:
            files.write_whole(out, "".join(f"{name}\n" for name in names))
        found: dict[str, Any] = {
            "by": ranking.by,
            "rows": len(rows),
            "first": [
                {"id": name, "score": float(ranking.scores[place])}
                for name, place in zip(names, ranking.order[:top], strict=True)
            ],
        }
        trials: Sequence[Trial] = ()
        if held is not None:
            found |= _predicted(opened, model, rows, names, held)
            if attempt:
                trials = _tried(opened, model, rows, ranking, held, top, tell)
                found["tried"] = [dataclasses.asdict(trial) for trial in trials]
    if plot is not None:
        from expunge.reports.removal_plot import removal_plot

        files.write_whole(plot, removal_plot(trials, title=f"{vault.name}, by {ranking.by}"))
        note(f"Plot: {plot}")
    if json:
        show_json(found)
    else:
        _print(found, trials, out, vault)


def _check(
    by: str, validation: Path | None, bad: str | None, group: str | None, attempt: bool, plot: Path | None
) -> None:
    if by == "influence" and validation is None:
        raise UsageError("--by influence needs --validation FILE: rows that were never learned, and are right.")
    if (by == "nearest") != (bad is not None):
        raise UsageError("--by nearest and --bad 1,2 (ids of rows known to be bad) go together.")
    if group is not None and (by != "influence" or "=" not in group):
        raise UsageError("--group COL=VALUE goes with --by influence.")
    if attempt and validation is None:
        raise UsageError("--try measures on --validation FILE: give it.")
    if plot is not None and not attempt:
        raise UsageError("--plot draws what --try measured: give --try too.")


def _ranked(
    opened: Vault, rows: Rows, held: Rows | None, by: By, bad: str | None, group: str | None
) -> tuple[Ranking, TrainedModel | None]:
    """The ranking, and the release as an objective: None where it is none and the ranking needs none."""
    from expunge.attribution import influence, nearest_to, row_loss, self_influence, trained_model
    from expunge.errors import InputError
    from expunge.features import Pipeline

    release = opened.release()
    try:
        model: TrainedModel | None = trained_model(opened.method, release, rows.schema)
    except InputError:
        if by.endswith("influence"):
            raise
        model = None
    if by == "loss":
        return row_loss(opened.method, release, rows), model
    if by == "nearest":
        names = [name.strip() for name in (bad or "").split(",") if name.strip()]
        seen = opened.method.mapped(release, rows) if isinstance(opened.method, Pipeline) else rows
        return nearest_to(seen, names), model
    assert model is not None
    if by == "self-influence":
        return self_influence(model, rows, seed=opened.seed), model
    assert held is not None
    if group is None:
        return influence(model, rows, held), model
    one, other = _split(held, group)
    return influence(model, rows, one, against=other), model


def _split(held: Rows, group: str) -> tuple[Rows, Rows]:
    import numpy as np

    column, _, value = group.partition("=")
    if column not in held.columns:
        raise UsageError(f"--group names the column {column!r}; the columns are {', '.join(sorted(held.columns))}.")
    values = held.columns[column]
    member = np.asarray([str(v) == value or (values.dtype.kind == "f" and _number(value) == v) for v in values])
    if member.all() or not member.any():
        raise UsageError(f"{int(member.sum())} of {len(held)} validation rows have {group}: a gap needs two groups.")
    return held.select(member), held.select(~member)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _predicted(
    opened: Vault, model: TrainedModel | None, rows: Rows, names: Sequence[str], held: Rows
) -> dict[str, Any]:
    from expunge.attribution import performance, predicted_removal

    now = performance(opened.method, opened.release(), held)
    after = predicted_removal(model, rows, names, held) if model is not None else None
    return {
        "before": dataclasses.asdict(now),
        "predicted": None if after is None else dataclasses.asdict(after),
    }


def _tried(
    opened: Vault,
    model: TrainedModel | None,
    rows: Rows,
    ranking: Ranking,
    held: Rows,
    top: int,
    tell: Callable[[str, int, int], None],
) -> Sequence[Trial]:
    from expunge.attribution import try_removals

    sizes = sorted({max(1, top // 4), max(1, top // 2), top})
    return try_removals(
        opened.method, opened.record(), rows, held, ranking, sizes,
        seed=opened.seed, release=opened.newest().release, model=model, progress=tell,
    )  # fmt: skip


def _print(found: dict[str, Any], trials: Sequence[Trial], out: Path | None, vault: Path) -> None:
    first = found["first"]
    say(f"The first {min(SHOWN, len(first))} of {found['rows']} rows:")
    show_table(("id", found["by"]), [(line["id"], f"{line['score']:.3g}") for line in first[:SHOWN]])
    if found.get("predicted"):
        before, after = found["before"], found["predicted"]
        say(f"Forgetting the first {len(first)} is predicted to take {_change(before, after)} on the validation rows.")
    if trials:
        say("Tried in memory, on the validation rows:")
        show_table(
            ("rows", "of", "before", "predicted", "forgotten", "retrained", "random"),
            [line for trial in trials for line in _lines(trial)],
        )
        if any(trial.how != "forgotten" for trial in trials):
            say("The method asked to learn again for such requests, so 'forgotten' is learning again.")
        say("retrained: learned without them. random: as many other rows forgotten.")
    say("These rows were chosen by looking at the model; see 'conditions' where a certificate assumes otherwise.")
    if out is not None:
        say(f"Nothing was forgotten. To forget them: expunge request {vault} --ids-file {out}")
    else:
        say("Nothing was forgotten. --out FILE writes the ids, and `expunge request --ids-file FILE` asks for it.")


def _change(before: dict[str, Any], after: dict[str, Any]) -> str:
    score = "accuracy" if before["accuracy"] is not None else "rmse"
    shown = ".2%" if score == "accuracy" else ".4g"
    return (
        f"the loss from {before['loss']:.4f} to {after['loss']:.4f} and the {score} from {before[score]:{shown}} to "
        f"{after[score]:{shown}}"
    )


def _lines(trial: Trial) -> list[tuple[str, ...]]:
    columns = (trial.before, trial.predicted, trial.forgotten, trial.retrained, trial.random)
    score = "accuracy" if trial.before.accuracy is not None else "rmse"
    return [
        (str(trial.rows), "loss", *(_shown(one, "loss") for one in columns)),
        ("", score, *(_shown(one, score) for one in columns)),
    ]


def _shown(performance: Performance | None, name: str) -> str:
    if performance is None:
        return "-"
    value = dataclasses.asdict(performance)[name]
    return f"{value:.1%}" if name == "accuracy" else f"{value:.4f}"
