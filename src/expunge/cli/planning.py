"""`expunge plan`: every route a request can take, what each guarantees, and what it will cost."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.options import Classes, IdColumn, Json, KeyFile, OwnModule, SettingsOfSeveral, SubjectColumn, Target
from expunge.cli.output import UsageError, console, note, progress, say, show_json
from expunge.cli.tables import Statistics

if TYPE_CHECKING:
    from expunge.method import Method
    from expunge.planning import Live, Route
    from expunge.rows import Rows


WIDTH = 80


class Wanted(StrEnum):
    """How strong a guarantee must be at least."""

    EXACT = "exact"
    CERTIFIED = "certified"
    NONE = "none"


def plan(
    vault: Annotated[
        Path | None, typer.Argument(metavar="[VAULT]", help="Folder of the vault; none with --rows.")
    ] = None,
    rows: Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Rows that a method would learn.")] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B", help="Methods to weigh; beside a vault's own, others.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="WHICH", help="How many rows the request names: 1, 50, 1%.")
    ] = None,
    ids: Annotated[str | None, typer.Option("--ids", metavar="1,2", help="Ids of the rows it names.")] = None,
    subjects: Annotated[str | None, typer.Option("--subjects", metavar="A,B", help="Owners it names.")] = None,
    target: Target = None,
    id: IdColumn = None,  # noqa: A002
    subject: SubjectColumn = None,
    classes: Classes = None,
    settings: SettingsOfSeveral = None,
    model: OwnModule = None,
    statistics: Annotated[
        Statistics, typer.Option("--statistics", help="How a table's means, scales and levels are known.")
    ] = Statistics.PUBLIC,
    guarantee: Annotated[
        Wanted | None, typer.Option("--guarantee", help="Choose a route that guarantees at least this.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="SECONDS", help="Choose a route that takes at most so long.")
    ] = None,
    pilot_seconds: Annotated[
        float,
        typer.Option("--pilot-seconds", metavar="SECONDS", help="Small runs stop after one so long."),
    ] = 1.0,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """List the routes a request can take, and choose one.

    Seconds are foretold from small runs. With --guarantee or --budget one route is chosen; exit code 1 if none fits.
    """
    if (vault is None) == (rows is None):
        raise UsageError("Give a VAULT, or --rows FILE --methods A,B; one of the two.")
    if sum(given is not None for given in (forget, ids, subjects)) > 1:
        raise UsageError("Give one of --forget, --ids and --subjects.")
    note("Loading torch ...")
    from expunge.planning import choose

    named = _Named(forget, _split(ids), _split(subjects))
    with progress() as tell:
        if vault is not None:
            found = _of_vault(vault, named, methods, settings or [], model, pilot_seconds, key_file, tell)
        else:
            assert rows is not None
            if methods is None:
                raise UsageError("--methods A,B is missing: without a vault, name what could learn these rows.")
            found = _of_rows(rows, (target, id, subject, classes), named, methods, settings or [], model, statistics,
                             pilot_seconds, tell)  # fmt: skip
    wanted = guarantee is not None or budget is not None
    choice = choose(found.routes, str(guarantee or "none"), budget) if wanted else None
    if json:
        chosen = None if choice is None else {"why": choice.why, "route": choice.route and asdict(choice.route)}
        show_json(
            {"rows": found.rows, "forget": found.forget, "routes": list(map(asdict, found.routes)), "choice": chosen}
        )
    else:
        _show(found)
        if choice is not None:
            say(textwrap.fill(f"Chosen: {choice.why}" if choice.route is not None else choice.why, WIDTH))
    if choice is not None and choice.route is None:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Named:
    """The rows that a request names: a text such as 10 or 1%, ids, or owners; all None for what is pending."""

    text: str | None
    ids: list[str] | None
    subjects: list[str] | None

    def of(self, rows: Rows) -> Rows:
        """These rows."""
        from expunge.audits.forget_sets import forget_set

        if self.ids is not None:
            return rows.only(self.ids)
        if self.subjects is not None:
            return rows.of_subjects(self.subjects)
        if self.text is None:
            raise UsageError("Say which rows: --forget 10, --ids or --subjects.")
        found = forget_set(self.text, rows)
        return rows.only([str(name) for name in found.ids])


@dataclass(frozen=True)
class _Found:
    rows: int
    forget: int
    routes: list[Route]


def _of_vault(
    vault: Path,
    named: _Named,
    methods: str | None,
    settings: Sequence[str],
    model: str | None,
    pilot_seconds: float,
    key_file: Path | None,
    tell: Callable[[str, int, int], None],
) -> _Found:
    from expunge.cli import method_lists
    from expunge.cli.settings import name_of, parse
    from expunge.features import Pipeline
    from expunge.planning import Live
    from expunge.vault import Vault

    with Vault.open(vault, key_file=key_file) as opened:
        rows, own = opened.rows(), opened.method
        inner = own.method if isinstance(own, Pipeline) else own
        forgotten = named.of(rows)
        others = method_lists.chosen(methods, parse(settings), model) if methods else {}
        weighed: dict[str, Method[Any]] = {name_of(type(inner)): own}
        weighed |= {label: _like(own, method) for label, method in others.items() if label not in weighed}
        live = Live(next(iter(weighed)), opened.record(), forgotten)
        return _weigh(weighed, rows, forgotten, live, pilot_seconds, tell)


def _of_rows(
    file: Path,
    columns: tuple[str | None, str | None, str | None, str | None],
    named: _Named,
    methods: str,
    settings: Sequence[str],
    model: str | None,
    statistics: Statistics,
    pilot_seconds: float,
    tell: Callable[[str, int, int], None],
) -> _Found:
    from expunge.cli import files, method_lists, tables
    from expunge.cli.settings import parse

    chosen = method_lists.chosen(methods, parse(settings), model)
    target, id_, subject, classes = columns
    if target is None and not file.is_dir() and any(method.needs_target for method in chosen.values()):
        raise UsageError("--target COL is missing: these methods learn to predict a column.")
    rows = files.read_rows(file, files.Source(target, id_, subject), classes)
    declared = tables.Declared(statistics, [], [], 0.0)
    dressed = {label: tables.over_a_table(method, rows, declared) for label, method in chosen.items()}
    return _weigh(dressed, rows, named.of(rows), None, pilot_seconds, tell)


def _weigh(
    methods: Mapping[str, Method[Any]],
    rows: Rows,
    forgotten: Rows,
    live: Live | None,
    pilot_seconds: float,
    tell: Callable[[str, int, int], None],
) -> _Found:
    from expunge.planning import routes

    if len(forgotten) >= len(rows):
        raise UsageError("The request names all rows: delete the model instead of planning what it should forget.")
    found = routes(methods, rows, len(forgotten), live=live, pilot_seconds=pilot_seconds, progress=tell)
    return _Found(len(rows), len(forgotten), found)


def _like(own: Method[Any], other: Method[Any]) -> Method[Any]:
    """Another method over the features of the vault's own."""
    import dataclasses

    from expunge.features import Pipeline

    if isinstance(own, Pipeline) and not other.reads_tables:
        return dataclasses.replace(own, method=other)
    return other


def _show(found: _Found) -> None:
    from rich import box
    from rich.table import Table

    from expunge.reports.table import seconds

    title = f"{found.rows:,} rows, {found.forget:,} to be forgotten"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(("route", "how", "guarantee", "about", "touched", "prepared", "loses")):
        table.add_column(heading, no_wrap=not place)
    open_ones = [route for route in found.routes if not route.closed]
    for route in open_ones:
        touched = "–" if route.touched is None else f"{route.touched:,}"
        lost = "–" if route.cost is None else f"{route.cost:.1f}"
        told = route.guarantee if route.guarantee != "certified" else route.promise
        prepared = seconds(route.prepared) if route.prepared else "–"
        how = "again" if route.how == "learn again" else route.how
        table.add_row(route.name, how, told, seconds(route.seconds), touched, prepared, lost)
    console().print(table)
    say(
        "about: seconds of one processor, foretold. touched: visits of retained rows.",
        "prepared: seconds of learning all rows, once. loses: points against the best",
        "route, on held-out rows.",
        "",
    )
    for basis in dict.fromkeys(route.basis for route in open_ones):
        own = [f"{route.name} ({route.how})" for route in open_ones if route.basis == basis]
        say(textwrap.fill(f"From {basis}: {', '.join(own)}.", WIDTH))
    for route in found.routes:
        if route.closed:
            say(textwrap.fill(f"Closed: {route.name} ({route.how}). {route.closed}", WIDTH))


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
