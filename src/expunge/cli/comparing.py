"""`expunge compare`: any methods on one data set, in tables and on one page."""

from __future__ import annotations

import textwrap
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import Classes, IdColumn, Json, OwnModule, RowsFile, SettingsOfSeveral, SubjectColumn, Target
from expunge.cli.output import UsageError, console, note, progress, say, show_json
from expunge.cli.tables import Statistics

if TYPE_CHECKING:
    from expunge.comparisons import Case, Compared, Entry
    from expunge.reports.compared import Block
    from expunge.rows import Rows

CELLS = "cells"
WIDTH = 80
REPORT, FIGURES = "report.html", "comparison.json"


class Backend(StrEnum):
    """Where joblib computes."""

    LOKY = "loky"
    THREADING = "threading"
    DASK = "dask"
    RAY = "ray"


def compare(
    rows: RowsFile,
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B", help="Methods of `expunge methods`, path.py:name, or label=name.")
    ],
    forget: Annotated[
        list[str],
        typer.Option(
            "--forget",
            metavar="WHICH",
            help="Rows to forget: 10, 1%, mislabelled:50, canary:20, outliers:20, subject:COL, class:NAME; repeat it.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the cells, report.html and figures.")],
    target: Target = None,
    id: IdColumn = None,  # noqa: A002
    subject: SubjectColumn = None,
    classes: Classes = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE", help="Rows to test on. Default: a share of --rows.")
    ] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", metavar="SHARE", help="Of --rows, drawn by their ids, where no --test is.")
    ] = 0.25,
    settings: SettingsOfSeveral = None,
    model: OwnModule = None,
    statistics: Annotated[
        Statistics, typer.Option("--statistics", help="How a table's means, scales and levels are known.")
    ] = Statistics.PUBLIC,
    references: Annotated[
        int, typer.Option("--references", metavar="K", min=2, help="Models learned again for every forget set.")
    ] = 20,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="Trainings of every method, each with its own seed.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Public seed that all others derive from.")] = 0,
    steps_only: Annotated[
        bool, typer.Option("--steps-only", help="Leave out sequences of requests and levels of noise.")
    ] = False,
    backend: Annotated[Backend, typer.Option("--backend", help="Where cells are computed.")] = Backend.LOKY,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="Cells at a time. Default: one a processor core.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare methods on one data set: what they promise, cost and leave behind.

    Every method stands beside doing nothing, learning again and a private model. Stopped, the same command goes on.
    """
    import joblib

    started = time.perf_counter()
    check_folder(out)
    note("Loading torch and the rows ...")
    from expunge.cli import files, method_lists, tables
    from expunge.cli.settings import parse
    from expunge.comparisons import Entry, Plan, Workers, boundary_methods, summarise
    from expunge.comparisons import compare as compared
    from expunge.comparisons.clusters import reached
    from expunge.reports.comparison_html import write_comparison

    chosen = method_lists.chosen(methods, parse(settings or []), model)
    if target is None and not rows.is_dir() and any(method.needs_target for method in chosen.values()):
        raise UsageError("--target COL is missing: these methods learn to predict a column.")
    source = files.Source(target, id, subject)
    given = files.read_rows(rows, source, classes)
    train, unseen = (
        split(given, test_share, seed) if test is None else (given, files.read_like(test, source, given.schema))
    )
    declared = tables.Declared(statistics, [], [], 0.0)
    dressed = {label: tables.over_a_table(method, train, declared) for label, method in chosen.items()}
    boundary = boundary_methods(
        list(dressed.values()), train, lambda method: tables.over_a_table(method, train, declared)
    )
    entries = [Entry(label, method) for label, method in dressed.items()]
    entries += [Entry(label, method, boundary=True) for label, method in boundary.items()]
    if any(dressed[label] is not method for label, method in chosen.items()):
        note(tables.said_of(declared))
    workers = Workers(str(backend), jobs or joblib.cpu_count())
    with progress() as tell:
        cases = _cases(forget, train, unseen, entries, seed, out)
        plan = Plan(seed, seeds, references, sequences=not steps_only, noise=not steps_only)
        with reached(workers):
            measured = compared(entries, cases, plan, out, workers, tell)
        tell("scoring", 0, len(measured))
        found = []
        for each in measured:
            found.append(summarise(each))
            tell("scoring", len(found), len(measured))
    write_comparison(out / REPORT, found, data=f"{rows.name}: {len(train):,} rows to learn, {len(unseen):,} to test on")
    _show(found, out, json=json)
    note(f"Report: {out / REPORT}    ({time.perf_counter() - started:.0f} s in all)")


def check_folder(out: Path) -> None:
    """A folder of an earlier comparison, an empty one, or none yet.

    Raises:
        UsageError: there is something else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CELLS).is_dir())):
        raise UsageError(f"--out {str(out)!r} exists and is no folder of an earlier comparison; name another.")
    out.mkdir(parents=True, exist_ok=True)
    (out / CELLS).mkdir(exist_ok=True)


def split(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to learn and rows to test on, by a keyed draw: whole owners, where rows have them.

    Raises:
        UsageError: one of the two would be empty.
    """
    import numpy as np

    from expunge import keyed

    if not 0 < share < 1:
        raise UsageError(f"--test-share {share} was given; a share above 0 and below 1 was expected.")
    owners = np.concatenate([table.owners for table in rows.tables()])
    unseen = keyed.uniforms(seed, ("comparison", "test"), owners) < share
    if unseen.all() or not unseen.any():
        raise UsageError(f"--test-share {share} of {len(rows)} rows leaves none to learn or none to test on.")
    return rows.select(~unseen), rows.select(unseen)


def _cases(texts: list[str], train: Rows, unseen: Rows, entries: list[Entry], seed: int, out: Path) -> list[Case]:
    from expunge.audits.forget_sets import Chooser
    from expunge.comparisons import Case

    chooser = Chooser(seed, method=entries[0].method, test=unseen, scratch=out / "scratch")
    wanted = dict.fromkeys(part.strip() for text in texts for part in text.split(","))
    cases = []
    for text in wanted:
        found = chooser.choose(text, train)
        cases.append(Case.of(found.words, found.rows, [str(name) for name in found.ids], unseen, seed=seed))
    return cases


def _show(found: list[Compared], out: Path, *, json: bool) -> None:
    import json as formats

    from expunge.cli.output import plain
    from expunge.reports import compared

    figures = plain(compared.as_json(found))
    (out / FIGURES).write_text(formats.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if json:
        show_json(figures)
        return
    for request in compared.requests(found):
        own = [each for each in found if each.request == request]
        say("", f"== {request} ==")
        for block in compared.blocks(own):
            _print(block)
        for sentence in compared.remarks(own):
            say(textwrap.fill(sentence, WIDTH))
    for label, reason in compared.left_out(found):
        say(textwrap.fill(f"Left out: {label}. {reason}", WIDTH))


def _print(block: Block) -> None:
    """A table that is readable at 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=block.title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(block.headings):
        table.add_column(heading, no_wrap=not place)
    for line in block.lines:
        table.add_row(*line)
    console().print(table)
