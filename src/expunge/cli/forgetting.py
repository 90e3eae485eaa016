"""`expunge request` and `expunge work`: rows out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli import files
from expunge.cli.options import Json, KeyFile, References, TestFile, VaultPath
from expunge.cli.output import UsageError, progress, say, show_json

if TYPE_CHECKING:
    from expunge.audits import Audit, AuditSummary, Step
    from expunge.rows import Rows
    from expunge.vault import Done


def request(
    vault: VaultPath,
    ids: Annotated[str | None, typer.Option("--ids", metavar="1,2", help="Ids of rows.")] = None,
    ids_file: Annotated[
        Path | None, typer.Option("--ids-file", metavar="FILE", help="A text file with one id a line.")
    ] = None,
    subjects: Annotated[
        str | None, typer.Option("--subjects", metavar="A,B", help="Owners: all their rows are meant.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the ledger.")] = "",
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Ask for rows to be forgotten; prints the request's number.

    The request is durable when the number is printed; `expunge work` honours it.
    """
    from expunge.vault import Vault

    if sum(given is not None for given in (ids, ids_file, subjects)) != 1:
        raise UsageError("Give exactly one of --ids, --ids-file and --subjects.")
    named = files.read_names(ids_file) if ids_file else (ids or "").split(",")
    wanted = [name.strip() for name in named if name.strip()]
    owners = None if subjects is None else [name.strip() for name in subjects.split(",") if name.strip()]
    with Vault.open(vault, key_file=key_file) as opened:
        number = opened.request(ids=wanted if owners is None else None, subjects=owners, reason=reason)
    if json:
        show_json({"request": number})
    else:
        say(str(number))


def work(
    vault: VaultPath,
    audit: Annotated[
        bool, typer.Option("--audit", help="Audit each step before its commit; a contradicted certificate is void.")
    ] = False,
    test: TestFile = None,
    references: References = 5,
    repeats: Annotated[
        int,
        typer.Option("--repeats", metavar="T", min=0, help="More models that learn all rows and forget these."),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="HTML", help="Report of the audits. It tells losses of the forgotten rows."),
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Honour the pending requests: forget, commit, sign, purge."""
    from expunge.vault import Vault

    if audit and test is None:
        raise UsageError("--audit needs --test FILE: rows that were never learned.")
    if repeats and not audit:
        raise UsageError("--repeats is for an audit: add --audit --test FILE.")
    if out is not None and not audit:
        raise UsageError("--out is for the report of an audit: add --audit --test FILE.")
    files.check_place(out)
    audits: list[tuple[str, str, Audit]] = []
    with progress() as tell, Vault.open(vault, key_file=key_file) as opened:
        auditor = None
        if audit and test is not None:
            auditor = _auditor(files.read_test(test, opened), (references, repeats), opened.scratch, tell, audits)
        done = opened.work(audit=auditor, progress=tell)
    if out is not None and audits:
        from expunge.reports import write_report

        write_report(out, audits, title=f"Audit of {vault.name}")
    if json:
        show_json([_report(step) for step in done])
    elif done:
        for step in done:
            say(_sentence(step))
    else:
        say("Nothing to do: no request is pending.")


def _auditor(
    test: Rows,
    models: tuple[int, int],
    scratch: Path,
    tell: Callable[[str, int, int], None],
    audits: list[tuple[str, str, Audit]],
) -> Callable[[Step], AuditSummary]:
    """What `Vault.work` calls with each step before its commit; the full audits are put into `audits`."""
    from expunge.audits import audit_step

    def auditor(step: Step) -> AuditSummary:
        references, repeats = models
        found = audit_step(step, test, references=references, repeats=repeats, scratch=scratch, progress=tell)
        audits.append((found.subject, f"{found.forgotten} rows", found))
        return found.summary()

    return auditor


def _report(done: Done) -> dict[str, Any]:
    """A finished batch as JSON."""
    return {
        "kind": done.kind,
        "batch": done.batch,
        "requests": done.requests,
        "rows": done.rows,
        "release": done.release,
        "digest_before": done.before,
        "digest_after": done.after,
        "certificate": {"type": type(done.certificate).__name__, **dataclasses.asdict(done.certificate)},
        "relearned": done.relearned or None,
        "audit": done.audit,
        "stats": dict(done.stats),
        "seconds": done.seconds,
        "purged": done.purged,
    }


def _sentence(done: Done) -> str:
    from expunge.reports.table import guarantee, seconds

    requests = ", ".join(map(str, done.requests))
    text = f"Request {requests}: {done.rows} rows forgotten in {seconds(done.seconds)}, {guarantee(done.certificate)}."
    if done.relearned:
        text += f" The model was learned again: {done.relearned}"
    if done.audit is not None:
        text += " The audit contradicts nothing." if not done.audit["contradictions"] else " AUDIT FAILED."
    return text + ("" if done.purged else " The purge is not complete yet: run work again when no reader is open.")
