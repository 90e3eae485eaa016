"""Every error the library raises on purpose, as one tree.

ExpungeError
├── InputError              what was given cannot be used (also a ValueError)
│   ├── SchemaError         a column, type, shape or class is not the declared one
│   ├── DuplicateRows       an id stands twice
│   ├── UnknownRows         an id or subject is not among the rows
│   └── AlreadyForgotten    an id was requested before
├── Refused                 an assumption of the guarantee fails: no certificate can be issued
├── MustRetrain             only learning again can honour the request; the vault then does so
├── NotConverged            a solver stopped before its tolerance
├── WorkersLost             a parallel training died or took too long; nothing was changed
├── VaultError              the folder, not the request
│   ├── VaultBusy           another process holds the writer lock
│   ├── VaultVersion        written by another version of the schema
│   ├── Corrupt             bytes on disk do not match their digest
│   ├── Incomplete          an interrupted learn: nothing was committed
│   ├── MissingKey          a key file is absent or does not belong to this vault
│   └── Resurrection        a forgotten row was offered again
└── VerificationError       a receipt does not prove what it says

A message says what was given, what was expected, and what to do.
"""


class ExpungeError(Exception):
    """Base of all errors raised on purpose."""


class InputError(ExpungeError, ValueError):
    """What was given cannot be used."""


class SchemaError(InputError):
    """A column, type, shape or class is not the declared one."""


class DuplicateRows(InputError):
    """An id stands twice."""


class UnknownRows(InputError):
    """An id or subject is not among the rows."""


class AlreadyForgotten(InputError):
    """An id was requested before."""


class Refused(ExpungeError):
    """An assumption of the guarantee fails: no certificate can be issued."""


class MustRetrain(ExpungeError):
    """Only learning again can honour the request."""


class NotConverged(ExpungeError):
    """A solver stopped before its tolerance."""


class WorkersLost(ExpungeError):
    """A parallel training died or took too long; nothing was changed."""


class VaultError(ExpungeError):
    """The vault's folder, not the request, is at fault."""


class VaultBusy(VaultError):
    """Another process holds the writer lock."""


class VaultVersion(VaultError):
    """The vault was written by another version of the schema."""


class Corrupt(VaultError):
    """Bytes on disk do not match their digest."""


class Incomplete(VaultError):
    """An interrupted learn: nothing was committed."""


class MissingKey(VaultError):
    """A key file is absent or does not belong to this vault."""


class Resurrection(VaultError):
    """A forgotten row was offered again."""


class VerificationError(ExpungeError):
    """A receipt does not prove what it says."""
