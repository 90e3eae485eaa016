"""The vault: ledger, rows on disk, records on disk, receipts, purge."""

from expunge.vault.done import Done
from expunge.vault.vault import Vault

__all__ = ["Done", "Vault"]
