"""The form of a receipt, version 1: every field of its statement, the type of each, and none besides.

A field more, a field less or a number where a digest belongs is no receipt of this version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.errors import VerificationError
from expunge.vault import receipts
from expunge.vault.receipts import Event

Check = Callable[[Any], bool]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_statement(statement: Mapping[str, Any], event: Event) -> None:
    """Check a statement's fields and those of its predicate.

    Raises:
        VerificationError: a field is missing, unknown, or of another type.
    """
    _check_fields("statement", statement, _STATEMENT)
    _check_fields("predicate", statement["predicate"], _SHARED | _OF_EVENT[event])


def certificate_of(tree: Mapping[str, Any]) -> Certificate:
    """The certificate that a receipt tells.

    Raises:
        VerificationError: it is of an unknown type, or a field is missing, unknown, or of another type.
    """
    kind = tree["type"]
    if kind not in _CERTIFICATES:
        raise VerificationError(f"The certificate type {kind!r} is unknown.")
    _check_fields("certificate", tree, _CERTIFICATES[kind])
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in tree.items()}
    del fields["type"]
    if kind == "Exact":
        return Exact(**fields)
    if kind == "Uncertified":
        return Uncertified(**fields)
    return Certified(**(fields | {"basis": Basis(tree["basis"]), "view": View(tree["view"])}))


def _check_fields(what: str, tree: Mapping[str, Any], expected: Mapping[str, Check]) -> None:
    if missing := sorted(set(expected) - set(tree)):
        raise VerificationError(f"The {what} lacks the fields {missing}.")
    if extra := sorted(set(tree) - set(expected)):
        raise VerificationError(f"The {what} has the unknown fields {extra}.")
    for name, check in expected.items():
        if not check(tree[name]):
            raise VerificationError(f"The field {name!r} of the {what} cannot be {str(tree[name])[:60]!r}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_environment(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_commitments(value: Any) -> bool:
    match value:
        case {"scheme": receipts.COMMITMENT, "values": dict(values)}:
            return set(value) == {"scheme", "values"} and all(map(_is_digest, values.values()))
    return False


def _is_release(*digests: str) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, dict) or set(value) != {"number", *digests}:
            return False
        return _is_count(value["number"]) and all(_is_digest(value[name]) for name in digests)

    return check


_STATEMENT: dict[str, Check] = {
    "_type": _is_text,
    "subject": lambda value: isinstance(value, list),
    "predicateType": _is_text,
    "predicate": _is_table,
}
_SHARED: dict[str, Check] = {
    "event": _is_text,
    "vault": _is_text,
    "request": _is_count,
    "commitments": _is_commitments,
    "previous": lambda value: value is None or _is_digest(value),
    "does_not_prove": _is_list_of_text,
}
_FORGOTTEN: dict[str, Check] = {
    "requested": _is_time,
    "forgotten": _is_time,
    "release": _is_release("before", "after"),
    "method": lambda value: isinstance(value, dict) and _is_text(value.get("name")),
    "certificate": lambda value: isinstance(value, dict) and _is_text(value.get("type")),
    "two_release_exposure": lambda value: value == "inf" or (_is_number(value) and value >= 0),
    "advice": _is_list_of_text,
    "environment": _is_environment,
}
_PURGED: dict[str, Check] = {"purged": _is_time, "release": _is_release("after"), "receipt": _is_digest}
_OF_EVENT = {Event.FORGOTTEN: _FORGOTTEN, Event.PURGED: _PURGED}
_CERTIFIED: dict[str, Check] = {
    **dict.fromkeys(("epsilon", "delta", "mu", "distance", "noise_std", "increment_std"), _is_number),
    "basis": lambda value: value in list(Basis),
    "view": lambda value: value in list(View),
    "reference": _is_text,
    "norm": _is_text,
    "assumptions": _is_list_of_text,
}
_CERTIFICATES: dict[str, dict[str, Check]] = {
    "Exact": {"type": _is_text, "conditions": _is_list_of_text, "assumptions": _is_list_of_text},
    "Certified": {"type": _is_text} | _CERTIFIED,
    "Uncertified": {"type": _is_text, "why": _is_text},
}
