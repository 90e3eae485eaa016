"""The key file: private, atomic, never overwritten, never inside the vault; what derives from it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError, MissingKey
from expunge.vault.keys import ENVIRONMENT, Keys, key_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.key"


@pytest.fixture
def keys(path: Path) -> Keys:
    return Keys.create(path, "vault-1")


def test_read_gives_what_create_made(path: Path, keys: Keys) -> None:
    again = Keys.read(path, "vault-1")
    assert again.secret == keys.secret
    assert len(keys.secret) == 32
    assert again.public_pem() == keys.public_pem()
    assert again.key_id == keys.key_id


def test_two_vaults_get_different_keys(tmp_path: Path, keys: Keys) -> None:
    other = Keys.create(tmp_path / "w.key", "vault-1")
    assert other.secret != keys.secret
    assert other.public_pem() != keys.public_pem()


def test_the_file_is_private_and_nothing_else_is_left(path: Path, keys: Keys) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["v.key"]
    assert set(json.loads(path.read_text())) == {"version", "vault", "hmac_key", "ed25519_private_key"}


def test_the_file_is_private_under_any_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        Keys.create(path, "vault-1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_is_shown_by_repr(keys: Keys) -> None:
    shown = repr(keys)
    assert "vault-1" in shown  # the positive control
    assert keys.secret.hex() not in shown
    assert repr(keys.secret) not in shown


def test_a_key_file_is_never_overwritten(path: Path, keys: Keys) -> None:
    content = path.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        Keys.create(path, "vault-2")
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["v.key"]


def test_a_crash_while_writing_leaves_no_key_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="went away"):
        Keys.create(path, "vault-1")
    assert list(path.parent.iterdir()) == []


def test_an_absent_file_is_said_to_be_absent(path: Path) -> None:
    with pytest.raises(MissingKey, match=rf"no key file at .*v.key.*{ENVIRONMENT}"):
        Keys.read(path, "vault-1")


def test_another_vaults_key_is_refused(path: Path, keys: Keys) -> None:
    with pytest.raises(MissingKey, match="belongs to the vault vault-1, and vault-2 was expected"):
        Keys.read(path, "vault-2")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_open_to_others_is_refused(path: Path, keys: Keys, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(MissingKey, match=f"mode {mode:04o}, 0600 was expected.*chmod 600"):
        Keys.read(path, "vault-1")
    path.chmod(0o400)
    assert Keys.read(path, "vault-1").secret == keys.secret


def test_a_folder_or_an_unreadable_file_is_a_missing_key(path: Path) -> None:
    path.mkdir(mode=0o700)
    with pytest.raises(MissingKey, match="cannot be read"):
        Keys.read(path, "vault-1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"hmac_key": "zz"}, "cannot be read"),
        ({"hmac_key": 7}, "cannot be read"),
        ({"hmac_key": "00" * 31}, "31 bytes"),
        ({"ed25519_private_key": "00"}, "cannot be read"),
        ({"more": 1}, "no expunge key file"),
    ],
)
def test_a_damaged_key_file_is_explained(path: Path, keys: Keys, change: dict[str, object], message: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MissingKey, match=message):
        Keys.read(path, "vault-1")


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_key_file_is_explained(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(MissingKey, match="no expunge key file"):
        Keys.read(path, "vault-1")


def test_the_key_file_stands_beside_the_vault_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert key_file(tmp_path / "v") == tmp_path / "v.key"
    assert key_file(tmp_path / "v.1") == tmp_path / "v.1.key"
    monkeypatch.chdir(tmp_path)
    assert key_file(Path("v")) == tmp_path / "v.key"


def test_the_environment_overrides_and_an_argument_overrides_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "env.key"))
    assert key_file(tmp_path / "v") == tmp_path / "env.key"
    assert key_file(tmp_path / "v", tmp_path / "given.key") == tmp_path / "given.key"


@pytest.mark.parametrize("inside", ["v/k.key", "v/deep/k.key", "v", "w/../v/k.key", "link/k.key"])
def test_a_key_file_inside_the_vault_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "v")
    with pytest.raises(InputError, match="inside the vault"):
        key_file(tmp_path / "v", tmp_path / inside)
    assert key_file(tmp_path / "v", tmp_path / "v2.key") == tmp_path / "v2.key"


def test_the_environment_cannot_place_the_key_inside_the_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "v" / "k"))
    with pytest.raises(InputError, match="inside the vault"):
        key_file(tmp_path / "v")


def test_a_commitment_is_hmac_sha256_under_its_own_opening(keys: Keys) -> None:
    opening = keys.opening("ids")
    assert keys.commit("ids", b"17") == hmac.new(opening, b"17", hashlib.sha256).hexdigest()
    assert len(opening) == 32


def test_commitments_differ_by_label_data_and_vault(tmp_path: Path, keys: Keys) -> None:
    other = Keys.create(tmp_path / "other.key", "vault-1")
    made = {
        keys.commit("a", b"1"),
        keys.commit("a", b"2"),
        keys.commit("b", b"1"),
        keys.commit("a1", b""),
        other.commit("a", b"1"),
    }
    assert len(made) == 5
    assert keys.commit("a", b"1") in made


def test_one_opening_does_not_open_another_commitment(keys: Keys) -> None:
    assert hmac.new(keys.opening("a"), b"1", hashlib.sha256).hexdigest() != keys.commit("b", b"1")
    assert keys.opening("a") != keys.secret


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_derived_keys_meet_only_where_purpose_and_label_do(a: str, b: str, c: str, d: str) -> None:
    keys = Keys("v", bytes(32), None)  # type: ignore[arg-type]
    assert (keys.derived(a, b) == keys.derived(c, d)) == ((a, b) == (c, d))


def test_signatures_verify_under_the_pem_and_only_for_the_same_bytes(keys: Keys) -> None:
    public = load_pem_public_key(keys.public_pem())
    signature = keys.sign(b"bytes")
    assert len(signature) == 64
    assert signature == keys.sign(b"bytes")
    public.verify(signature, b"bytes")  # type: ignore[union-attr, call-arg]
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"other")  # type: ignore[union-attr, call-arg]
