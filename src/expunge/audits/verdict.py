"""From figures to words: which failures an audit shows, and what it says in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.audits.audit import Attack, Claim
from expunge.audits.calibration import LEVEL, Calibration
from expunge.audits.comparison import Comparison
from expunge.audits.metrics import LEVEL as BAND
from expunge.audits.utility import worse

AUC_MARGIN = 0.01  # smaller differences are no failure, however narrow the band of near-deterministic references

UNCHANGED = "unchanged weights"
RECOGNISED = "attack recognises forgotten rows"
OVERFORGOTTEN = "over-forgotten"
UTILITY = "worse on test rows"
BROKEN = "broken model"
EXCEEDED = "attack proves more than is claimed, at 95 %"
NOTHING = "no better than doing nothing"
NO_POWER = "attack has no power"
UNTOLD = "attack passes doing nothing too"


def flags(compared: Comparison, unchanged: bool) -> tuple[str, ...]:
    """The failures (and the limits of the audit itself), by name."""
    raised = [UNCHANGED] if unchanged else []
    attack = compared.attacks[0] if compared.attacks else None
    if attack is not None:
        raised += _attack_flags(attack)
    if any(worse(measure, ("test",)) for measure in compared.measures):
        raised.append(UTILITY)
    if compared.broken:
        raised.append(BROKEN)
    shares = [apart.share for apart in compared.apart if apart.share is not None]
    if shares and (unchanged or min(shares) >= 1):  # an unchanged release minus noise it was not given is no centre
        raised.append(NOTHING)
    return tuple(raised)


def verdict(
    compared: Comparison, claim: Claim, contradictions: Sequence[str], raised: Sequence[str], references: int
) -> str:
    """The audit in a few sentences, the worst first."""
    sentences = []
    if contradictions:
        sentences.append("VOID: the certificate is contradicted. " + " ".join(contradictions))
    elif claim.confirmed:
        sentences.append(f"The certificate holds. {claim.how}{_budget(claim)}")
    else:
        sentences.append(claim.how)
    if UNCHANGED in raised and not contradictions:
        sentences.append("The release is bit for bit the one of before.")
    sentences.append(_about_attack(compared.attacks[0] if compared.attacks else None, raised, references))
    if UTILITY in raised:
        sentences.append("On test rows it is worse than any honest retraining explains.")
    elif BROKEN in raised:
        sentences.append("On retained rows it is worse than any honest retraining explains.")
    if BROKEN in raised:
        sentences.append("A broken model gets no score, and passing an attack is no merit of it.")
    if EXCEEDED in raised and not contradictions:
        sentences.append("An attack over models exceeds the claim at 95 %, not at the 99.99 % that would void it.")
    if NOTHING in raised:
        sentences.append("It lies no closer to the retrained model than doing nothing does.")
    return " ".join(sentences)


def _attack_flags(attack: Attack) -> list[str]:
    auc = attack.auc
    if not attack.has_power:
        return [NO_POWER]
    if auc.null is None:
        return []
    low, high = auc.null.interval
    # Repeats can show what one model cannot: a p-value as small as the interval is wide.
    shown = auc.calibration.effect if auc.calibration is not None and auc.calibration.p_value <= 1 - BAND else 0.0
    if auc.after > high + AUC_MARGIN or shown > AUC_MARGIN:
        return [RECOGNISED]
    if auc.after < low - AUC_MARGIN or shown < -AUC_MARGIN:
        return [OVERFORGOTTEN]
    nothing = auc.before
    return [UNTOLD] if nothing is not None and low - AUC_MARGIN <= nothing <= high + AUC_MARGIN else []


def _budget(claim: Claim) -> str:
    if claim.distance is None or claim.budget is None:
        return ""
    return f" It lies {claim.distance:.2g} away; {claim.budget:.2g} is allowed."


def _about_attack(attack: Attack | None, raised: Sequence[str], references: int) -> str:
    if attack is None:
        return "No attack was run: without test rows there is nothing to compare the forgotten ones with."
    auc = attack.auc
    if NO_POWER in raised:
        return "So few rows give a membership attack no power: see instead how their losses rank among the references."
    figures = f"AUC {auc.after:.3f}"
    if auc.null is None:
        return f"Membership attack: {figures}, with no band to judge it by ({references} references; 2 or more needed)."
    low, high = auc.null.share
    figures += f"; 99 % of retrained models {low:.3f} to {high:.3f}"
    figures += "" if auc.before is None else f"; doing nothing {auc.before:.3f}"
    figures += "" if auc.calibration is None else _p_value(auc.calibration)
    if RECOGNISED in raised:
        return f"The forgotten rows are still recognised ({figures})."
    if OVERFORGOTTEN in raised:
        return f"The forgotten rows stand out as unusually unlikely: over-forgotten ({figures})."
    passed = f"The forgotten rows are no better recognised than by models that never saw them ({figures})."
    if auc.calibration is not None and auc.calibration.smallest_effect >= AUC_MARGIN:
        unseen = auc.calibration.smallest_effect
        told = f"A true difference below {unseen:.2f}" if unseen < 1 else "With so few models any difference"
        passed += f" {told} would have stayed unseen."
    return passed + (" Doing nothing passes this attack too, so it says little." if UNTOLD in raised else "")


def _p_value(found: Calibration) -> str:
    least = found.p_value == found.least_p and found.least_p > LEVEL
    return f"; p {found.p_value:.2g}" + (", the least that so few models can give" if least else "")
