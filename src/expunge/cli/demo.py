"""`expunge demo`: the whole of it on real data, in a few minutes, with one table and one report at the end."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import Json, References
from expunge.cli.output import UsageError, console, note, progress, say, show_json

if TYPE_CHECKING:
    from expunge.reports.table import ReportRow

MARK = ".expunge-demo"  # a folder with this file in it was made by the demo and may be made again
WIDTH = 100
INTRODUCTION = (
    "Handwritten digits and tumours, the data that come with scikit-learn. Of each, one person asked to be forgotten, "
    "then 50 rows that were given a wrong label before learning. Each step was audited before its commit, beside models"
    " retrained without the rows."
)
HEADINGS = (
    "method\nrequest",
    "guarantee",
    "forget",
    "retrain\ncold, warm",
    "speed-up\ncold, warm",
    "accuracy\nbefore after\nretrained",
    "distance",
    "attack\nbefore after\nretrained",
)


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the vaults and report.html.")] = Path(
        "demo-out"
    ),
    references: References = 10,
    json: Json = False,
) -> None:
    """Show all of it on real data, in one table and one report.

    The data come with scikit-learn; the folder then holds the vaults, their receipts and report.html.
    """
    started = time.perf_counter()
    vaults = _fresh(out)
    note("Loading torch and the data ...")
    from expunge.cli import demonstration
    from expunge.reports import write_report
    from expunge.reports.table import comparison_rows

    findings: list[demonstration.Finding] = []
    scenes = demonstration.scenes()
    for place, scene in enumerate(scenes, start=1):
        note(f"[{place}/{len(scenes)}] {scene.label} on {scene.data.name}: {len(scene.data.train)} rows, two requests")
        with progress() as tell:
            findings += demonstration.play(scene, vaults / scene.folder, references, tell)
    write_report(
        out / "report.html",
        findings,
        title="Forgetting, audited",
        introduction=INTRODUCTION,
        notes=[
            ("Receipts", f"{len(findings)} signed receipts, one a request, were verified with the public keys alone.")
        ],
    )
    lines = comparison_rows(findings)
    if json:
        show_json([dataclasses.asdict(line) for line in lines])
        return
    _print(lines)
    say(
        f"{len(findings)} receipts verified offline with the vaults' public keys. Try one yourself:",
        f"  expunge verify {vaults}/{scenes[0].folder}-receipt-1.json --public-key {vaults}/{scenes[0].folder}.pem",
        f"Report: {out / 'report.html'}    ({time.perf_counter() - started:.0f} s in all)",
    )


def _fresh(out: Path) -> Path:
    """The folder of the vaults, empty; an earlier demo's is replaced, nothing else ever is.

    Raises:
        UsageError: the folder holds something else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise UsageError(f"--out {str(out)!r} exists and is no folder of an earlier demo; name another.")
    vaults = out / "vaults"
    if vaults.exists():
        shutil.rmtree(vaults)
    vaults.mkdir(parents=True)
    (out / MARK).touch()
    return vaults


def _print(lines: Sequence[ReportRow]) -> None:
    """The one table, readable at 100 columns: two or three lines a row."""
    from rich import box
    from rich.table import Table

    from expunge.reports.table import figure, seconds, share, times

    table = Table(box=box.SIMPLE_HEAD, show_lines=True, pad_edge=False, padding=0)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    for line in lines:
        guarantee, _, budget = line.guarantee.partition(" (")
        band = f"{figure(line.null_low)}–{figure(line.null_high)}"
        table.add_row(
            f"{line.label}\n{line.request}",
            "VOID" if line.contradictions else f"{guarantee}\n{budget.rstrip(')')}".strip().replace(", ", "\n"),
            seconds(line.forget_seconds),
            f"{seconds(line.cold_seconds)}\n{seconds(line.warm_seconds)}",
            f"{times(line.speed_up)}\n{times(line.warm_speed_up)}",
            f"{figure(line.quality_before)} {figure(line.quality_after)}\n{figure(line.quality_retrained)}",
            share(line.distance_share),
            f"{figure(line.auc_before)} {figure(line.auc)}\n{band}" if line.auc_has_power else "too few rows",
        )
    console(least=WIDTH).print(table)
    say(
        "Distance: to the model retrained without the rows, as a share of doing nothing. Attack: area under",
        "the ROC curve of membership inference, before and after forgetting; below them, where 99 % of models",
        "fall that never saw the rows.",
        "",
    )
