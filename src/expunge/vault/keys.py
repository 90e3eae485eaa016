"""The key file: what signs receipts and keeps a vault's tombstones and commitments from being guessed.

One JSON file per vault, outside its folder, readable by its owner alone. It holds 32 random bytes, from which every
symmetric key is derived, and an Ed25519 private key. Without the bytes a million ids are enumerated in seconds, so
whoever copies the vault must not get the key with it; docs/receipts.md says how to keep, back up and retire it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from expunge.errors import InputError, MissingKey

ENVIRONMENT = "EXPUNGE_KEY_FILE"
VERSION = 1
_FIELDS = {"version", "vault", "hmac_key", "ed25519_private_key"}


@dataclass(frozen=True, eq=False)
class Keys:
    """A vault's keys in memory.

    Attributes:
        vault: the id of the vault they belong to.
        secret: 32 bytes; every symmetric key derives from it. signing: the Ed25519 private key.
    """

    vault: str
    secret: bytes = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, path: Path, vault: str) -> Keys:
        """New keys in a new file of mode 0600: all of it appears at `path`, or nothing.

        Raises:
            InputError: something stands at `path`; a key file is never overwritten.
        """
        keys = cls(vault, secrets.token_bytes(32), Ed25519PrivateKey.generate())
        text = json.dumps(
            {
                "version": VERSION,
                "vault": vault,
                "hmac_key": keys.secret.hex(),
                "ed25519_private_key": keys.signing.private_bytes_raw().hex(),
            },
            indent=1,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path, text.encode())
        return keys

    @classmethod
    def read(cls, path: Path, vault: str) -> Keys:
        """The keys in the file at `path`.

        Raises:
            MissingKey: the file is absent, unreadable, open to other users, no key file, or another vault's.
        """
        content = _checked(path, _read_private(path))
        if content["vault"] != vault:
            raise MissingKey(
                f"The key file {path} belongs to the vault {content['vault']}, and {vault} was expected: "
                f"name this vault's own key file, or set {ENVIRONMENT} to it."
            )
        try:
            secret = bytes.fromhex(content["hmac_key"])
            signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["ed25519_private_key"]))
        except (TypeError, ValueError) as error:
            raise MissingKey(f"A key in {path} cannot be read ({error}): restore the file from its backup.") from None
        if len(secret) != 32:
            raise MissingKey(f"The key in {path} has {len(secret)} bytes, not 32: restore the file from its backup.")
        return cls(vault, secret, signing)

    def derived(self, purpose: str, label: str = "") -> bytes:
        """A 32-byte key for one purpose and label: HMAC-SHA256 of both, each with its length, under the secret."""
        parts = [part.encode() for part in ("expunge", purpose, label)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self.secret, message, "sha256")

    def opening(self, label: str) -> bytes:
        """The key that opens the one commitment made under `label`; shown to an auditor, it opens no other."""
        return self.derived("commitment", label)

    def commit(self, label: str, data: bytes) -> str:
        """HMAC-SHA256 of `data` under `opening(label)`, in hexadecimal: hides the data, and binds to it."""
        return hmac.digest(self.opening(label), data, "sha256").hex()

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `data`; deterministic."""
        return self.signing.sign(data)

    def public_pem(self) -> bytes:
        """The public key as PEM, for whoever verifies receipts."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.signing.public_key().public_bytes(encoding, form)

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, as `key_id_of`."""
        return key_id_of(self.signing.public_key())


def key_id_of(public: Ed25519PublicKey) -> str:
    """SHA-256 of a public key's DER form (SubjectPublicKeyInfo), in hexadecimal."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(encoding, form)).hexdigest()


def key_file(vault: Path, given: Path | None = None) -> Path:
    """Where the key file of the vault at `vault` is: `given`, else $EXPUNGE_KEY_FILE, else `<vault>.key` beside it.

    Raises:
        InputError: that place is inside the vault's folder.
    """
    folder = vault.expanduser().resolve()
    named = os.environ.get(ENVIRONMENT)
    path = given or (Path(named) if named else folder.with_name(folder.name + ".key"))
    resolved = path.expanduser().resolve()
    if resolved.is_relative_to(folder):
        raise InputError(
            f"The key file {path} is inside the vault {vault}: whoever copies the folder would hold the key to its "
            f"tombstones. Name a place outside it."
        )
    return resolved


def _write_new(path: Path, content: bytes) -> None:
    """Write beside, fsync, then link: a link fails where `path` exists, a rename would replace it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise InputError(
            f"There is a file at {path} already, and a key file is never overwritten: without its keys the receipts "
            f"and tombstones of its vault are lost. Name another place, or move that file away."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise MissingKey(
                    f"The key file {path} is open to other users (mode {stat.S_IMODE(mode):04o}, 0600 was expected): "
                    f"run `chmod 600 {path}`, and replace the keys if someone else may have read them."
                )
            return file.read()
    except FileNotFoundError:
        raise MissingKey(
            f"There is no key file at {path}: restore it from its backup, or say where it is with key_file or "
            f"{ENVIRONMENT}. It cannot be made again."
        ) from None
    except OSError as error:
        raise MissingKey(f"The key file {path} cannot be read ({error.strerror}).") from None


def _checked(path: Path, content: bytes) -> dict[str, str]:
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise MissingKey(f"{path} is no expunge key file: a JSON object with {sorted(_FIELDS)} was expected.")
    if fields["version"] != VERSION:
        raise MissingKey(f"The key file {path} has version {fields['version']!r}; this expunge reads {VERSION}.")
    return {name: value for name, value in fields.items() if name != "version"}
