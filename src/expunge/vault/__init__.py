"""The vault: ledger, rows on disk, records on disk, receipts, purge."""

from expunge.vault.vault import Vault
from expunge.vault.work import Done

__all__ = ["Done", "Vault"]
