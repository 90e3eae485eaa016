"""A comparison as tables narrow enough for a terminal of 80 columns; the HTML page shows the same ones.

The slides' columns come first (type, certificate, efficiency, effectiveness, consistency of weights, answers and
probabilities, certifiability, bound on information); beside each figure of two models stands that of doing nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.audits import verdict
from expunge.certificate import Certified
from expunge.comparisons.compared import Beside, Compared
from expunge.reports.table import seconds, share, times

Cell = Callable[[Compared], str]
NONE = "–"
MOST = 1e4  # times faster than learning again: beyond, nothing was done


@dataclass(frozen=True)
class Block:
    """A small table: what it says, its headings, and a line for each method."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def blocks(found: Sequence[Compared]) -> list[Block]:
    """The tables of one forget set; methods that do not apply are left out (see `left_out`)."""
    shown = [each for each in found if not each.refused]
    if not shown:
        return []
    return [Block(title, tuple(columns), tuple(_line(columns, each) for each in shown)) for title, columns in _TABLES]


def left_out(found: Sequence[Compared]) -> list[tuple[str, str]]:
    """(label, reason) of the methods that do not apply to the data, each once."""
    return list(dict.fromkeys((each.label, each.refused) for each in found if each.refused))


def requests(found: Sequence[Compared]) -> list[str]:
    """The forget sets, in their order."""
    return list(dict.fromkeys(each.request for each in found))


def remarks(found: Sequence[Compared]) -> list[str]:
    """Failures and voided certificates, one sentence a method."""
    said = []
    for each in found:
        if each.contradictions:
            said.append(f"{each.label}: VOID. {' '.join(each.contradictions)}")
        failures = [flag for flag in each.flags if flag not in (verdict.NO_POWER, verdict.UNTOLD)]
        if failures:
            said.append(f"{each.label}: {', '.join(failures)}.")
        if each.relearned:
            said.append(f"{each.label}: learned again. {each.relearned}")
        bound = each.epsilon_bound
        if bound is not None:
            said.append(
                f"{each.label}: {bound.models} models prove epsilon {bound.epsilon:.2g} at least; so many could have "
                f"proved {bound.largest_epsilon:.2g} at most."
            )
    return said


def as_json(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """Everything that was measured, as plain dictionaries; the certificate with its type."""
    return [
        dataclasses.asdict(each)
        | {
            "kind": each.kind,
            "theta_share": each.theta_share,
            "certificate": None
            if each.certificate is None
            else {"type": type(each.certificate).__name__, **dataclasses.asdict(each.certificate)},
            "efficiency": None if each.costs is None else each.costs.efficiency,
            "preparation": None if each.costs is None else each.costs.preparation,
            "break_even": None if each.costs is None else each.costs.break_even,
        }
        for each in found
    ]


def promise(found: Compared) -> str:
    """The certificate in a few characters."""
    if found.contradictions:
        return "VOID"
    match found.certificate:
        case Certified(epsilon=epsilon, delta=delta):
            return f"ε {epsilon:.3g}, δ {delta:.0e}".replace("e-0", "e-")
    return {"exact": "same bytes", "learned again": "by definition"}.get(found.kind, NONE)


def size(count: int) -> str:
    """Bytes in a unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count = round(count / 1000) if count >= 10_000 else count // 100 / 10  # type: ignore[assignment]
    return f"{count:g} {unit}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure in few characters; one that is not 0 never looks like 0."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if abs(value) >= 10.0**-digits:
        return f"{value:.{digits}f}"
    return f"{value:.0e}".replace("e-0", "e-")


def pays_after(found: Compared) -> str:
    """After how many requests the preparation has paid off."""
    even = None if found.costs is None else found.costs.break_even
    if even is None:
        return NONE
    return "never" if math.isinf(even) else "at once" if even == 0 else f"{math.ceil(even):,}"


def _beside(pair: Beside | None, digits: int = 3) -> str:
    return NONE if pair is None else f"{number(pair.after, digits)} ({number(pair.nothing, digits)})"


def _line(columns: dict[str, Cell], found: Compared) -> tuple[str, ...]:
    return tuple(cell(found) for cell in columns.values())


def _checked(found: Compared) -> str:
    return {True: "holds", False: "VOID", None: "not checked"}[False if found.contradictions else found.confirmed]


def _kind(found: Compared) -> str:
    return {"none": "approximate"}.get(found.kind, found.kind)


def _costs(of: Callable[[Any], str]) -> Cell:
    return lambda found: NONE if found.costs is None else of(found.costs)


def _quality(found: Compared) -> str:
    return NONE if found.quality is None else number(found.quality[1])


def _effect(found: Compared) -> str:
    return NONE if found.effectiveness is None else number(found.effectiveness.after)


def _auc(found: Compared) -> str:
    attack = found.attack
    if attack is None:
        return NONE
    return f"{attack.auc:.3f} ({attack.before:.3f})" if attack.has_power else "too few rows"


def _null(found: Compared) -> str:
    attack = found.attack
    if attack is None or not attack.has_power:
        return NONE
    low, high = attack.null
    return f"{low:.3f}-{high:.3f}"


def _p(found: Compared) -> str:
    attack = found.attack
    if attack is None or attack.calibration is None or not attack.has_power:
        return NONE
    return f"{attack.calibration.p_value:.3f}"


def _least(found: Compared) -> str:
    """The least difference of areas that would have been found, 4 times in 5."""
    attack = found.attack
    if attack is None or not attack.has_power:
        return NONE
    return f"{attack.detectable if attack.calibration is None else attack.calibration.smallest_effect:.2f}"


def _klom(found: Compared) -> str:
    return NONE if found.klom is None else f"{found.klom.after:.2f} ({number(found.klom_null, 2)})"


def _rates(found: Compared) -> str:
    return NONE if found.attack is None or not found.attack.has_power else share(found.attack.found)


_METHOD: dict[str, Cell] = {"method": lambda found: found.label}
_TABLES: tuple[tuple[str, dict[str, Cell]], ...] = (
    (
        "What is promised",
        _METHOD
        | {
            "type": _kind,
            "certificate": promise,
            "facts": _checked,
            "I(D;h), nats": lambda found: NONE if found.information is None else number(found.information, 2),
        },
    ),
    (
        "What it costs: processor seconds, and what must be kept",
        _METHOD
        | {
            "forget": _costs(lambda costs: seconds(costs.forget)),
            "again": _costs(lambda costs: seconds(costs.again)),
            "efficiency": _costs(lambda costs: times(costs.efficiency) if costs.efficiency < MOST else "no work"),
            "prepared": _costs(lambda costs: seconds(costs.preparation)),
            "pays at": pays_after,
            "kept": _costs(lambda costs: size(costs.record_bytes)),
        },
    ),
    (
        "How near to learning again (in brackets: doing nothing)",
        _METHOD
        | {
            "effective": _effect,
            "weights": lambda found: share(found.theta_share),
            "answers": lambda found: _beside(found.equal),
            "KL": lambda found: _beside(found.kl, 4),
            "certifiab.": lambda found: _beside(found.certifiability),
        },
    ),
    (
        "What an attack sees (before), and where retrained models lie",
        _METHOD
        | {"AUC": _auc, "99 % of them": _null, "p": _p, "least": _least, "at 1 %": _rates, "KLOM (null)": _klom},
    ),
    (
        "Does it still work",
        _METHOD
        | {
            "after": _quality,
            "retrained": lambda found: NONE if found.band is None else f"{found.band.low:.3f}-{found.band.high:.3f}",
            "measure": lambda found: f"{found.quality_name} on {found.quality_on}",
            "tug of war": lambda found: _beside(found.tow),
        },
    ),
)  # fmt: skip
