"""`expunge status`, `expunge ledger` and `expunge methods`: what is there."""

from __future__ import annotations

import textwrap

from expunge.cli.options import Json, KeyFile, VaultPath
from expunge.cli.output import in_words, say, show_fields, show_json, show_table

WIDTH = 100
SHOWN = ("request", "state", "by", "rows", "reason", "requested", "forgotten", "purged", "release")


def status(vault: VaultPath, key_file: KeyFile = None, json: Json = False) -> None:
    """Say what a vault holds, what is pending and what is promised."""
    from expunge.vault import Vault

    with Vault.open(vault, key_file=key_file) as opened:
        report = opened.status()
    if json:
        show_json(report)
    else:
        report["method"] = report["method"]["name"]
        show_fields(report | {"certificate": in_words(report["certificate"])})


def ledger(vault: VaultPath, key_file: KeyFile = None, json: Json = False) -> None:
    """List the requests of a vault and what became of each."""
    from expunge.vault import Vault

    with Vault.open(vault, key_file=key_file) as opened:
        entries = opened.ledger()
    if json:
        show_json(entries)
    elif entries:
        show_table(SHOWN, [[entry[name] for name in SHOWN] for entry in entries])
    else:
        say("No request was made yet.")


def methods(json: Json = False) -> None:
    """List the methods: what each guarantees, for which models, where it is strong and weak, and its paper."""
    from expunge.cli import choosing

    cards = [choosing.card(name) for name in choosing.names()]
    if json:
        show_json(cards)
        return
    for card in cards:
        verbs = [verb for verb in ("adopts", "extends") if card[verb]]
        say(f"{card['name']}{'  (' + ', '.join(verbs) + ')' if verbs else ''}")
        for fact in choosing.CARD:
            say(textwrap.fill(card[fact], WIDTH, initial_indent=f"  {fact:<11}", subsequent_indent=" " * 13))
        say("")
