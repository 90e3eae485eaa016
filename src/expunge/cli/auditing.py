"""`expunge audit`: the live state of a vault, or two checkpoints of any model without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import files
from expunge.cli.options import Json, KeyFile, References, TestFile
from expunge.cli.output import UsageError, note, progress, say

if TYPE_CHECKING:
    from expunge.audits import Audit


def audit(
    vault: Annotated[
        Path | None, typer.Argument(metavar="[VAULT]", help="Folder of the vault; none with --before and --after.")
    ] = None,
    test: TestFile = None,
    references: References = 5,
    out: Annotated[Path | None, typer.Option("--out", metavar="HTML", help="Self-contained report to write.")] = None,
    before: Annotated[
        Path | None, typer.Option("--before", metavar="A", help="Checkpoint before: .safetensors, or .npz of scores.")
    ] = None,
    after: Annotated[
        Path | None, typer.Option("--after", metavar="B", help="Checkpoint that is said to have forgotten rows.")
    ] = None,
    retrained: Annotated[
        list[Path] | None,
        typer.Option("--retrained", metavar="C", help="Checkpoint trained without the rows; several give a band."),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE", help="Rows that the checkpoint before was trained on.")
    ] = None,
    ids: Annotated[str | None, typer.Option("--ids", metavar="1,2", help="Ids of the rows that are forgotten.")] = None,
    ids_file: Annotated[
        Path | None, typer.Option("--ids-file", metavar="FILE", help="The same, one id a line.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="COL", help="Target column of --rows.")] = None,
    id: Annotated[  # noqa: A002
        str | None, typer.Option("--id", metavar="COL", help="Id column of --rows. Default: 0, 1, 2, ...")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PATH.PY:NAME", help="What builds the module of the checkpoints.")
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Measure a model beside models that never saw the rows.

    Of a vault the live state is audited; or two checkpoints of any model, without a vault.
    """
    if (vault is None) == (before is None and after is None):
        raise UsageError("Give a VAULT, or --before A --after B --rows FILE; one of the two.")
    files.check_place(out)
    if vault is not None:
        found = _live(vault, test, references, key_file)
        name = vault.name
    else:
        if before is None or after is None or rows is None or (ids is None) == (ids_file is None):
            raise UsageError("Two checkpoints need --before A --after B --rows FILE, and --ids or --ids-file.")
        wanted = files.read_names(ids_file) if ids_file else [name.strip() for name in (ids or "").split(",")]
        found = _checkpoints([before, after, *(retrained or [])], rows, (target, id), wanted, test, model)
        name = after.name
    if out is not None:
        from expunge.reports import write_report

        write_report(out, [(found.subject, f"{found.forgotten} rows", found)], title=f"Audit of {name}")
        note(f"Report: {out}")
    if json:
        say(found.to_json(indent=2))
    else:
        say(found.verdict)


def _live(vault: Path, test: Path | None, references: int, key_file: Path | None) -> Audit:
    """Audit what the vault serves now: a replay of its newest state, and K models retrained on its rows."""
    from expunge.audits.audit import Claim
    from expunge.audits.live_audit import audit_live
    from expunge.vault import Vault
    from expunge.vault.replay import Answer, replay

    with progress() as tell, Vault.open(vault, key_file=key_file) as opened:
        newest, replayed = opened.newest(), replay(opened)
        confirmed = {Answer.EQUAL: True, Answer.DIFFERENT: False}.get(replayed.answer)
        return audit_live(
            opened.method,
            opened.release(),
            opened.rows(),
            None if test is None else files.read_test(test, opened),
            seed=opened.seed,
            number=newest.release,
            certificate=newest.certificate,
            claim=Claim(confirmed, f"Replay, {replayed.answer}: {replayed.why}."),
            references=references,
            scratch=opened.scratch,
            progress=tell,
        )


def _checkpoints(
    checkpoints: list[Path],
    rows: Path,
    columns: tuple[str | None, str | None],
    forgotten: list[str],
    test: Path | None,
    model: str | None,
) -> Audit:
    """Audit the second checkpoint beside the first, and beside those retrained without the rows."""
    from expunge.audits.checkpoints import audit_models, read_checkpoint

    source = files.Source(columns[0], columns[1], None)
    given = files.read_rows(rows, source)
    candidates = [read_checkpoint(path, model, given.schema) for path in checkpoints]
    return audit_models(
        candidates[0],
        candidates[1],
        retained=given.without(forgotten),
        forgotten=given.only(forgotten),
        test=None if test is None else files.read_like(test, source, given.schema),
        references=candidates[2:],
    )
