"""One cell: learn, forget, learn again; what that took, what was claimed, and what the three models say of rows.

Everything is a function of (method, case, seed): noise too, whose key is derived from them here and nowhere else in
the package. No model of a comparison is ever released; a vault draws its keys from the operating system.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np

from expunge import record
from expunge.audits.audit import Apart, Claim
from expunge.audits.candidates import released
from expunge.audits.claims import Finding, check, checkable, unchanged
from expunge.audits.json_tree import to_tree
from expunge.audits.scores.consistency import weight_distance
from expunge.audits.step import Step
from expunge.audits.stored_releases import Learned
from expunge.certificate import Certificate, Certified, Exact
from expunge.comparisons.case import Case
from expunge.comparisons.plain_training import plain_of
from expunge.comparisons.store import Outcome
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.features.pipeline import learned_again
from expunge.learners.learner import one_thread
from expunge.method import Forgetting, Method, Release
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

T = TypeVar("T")
QUICK = 0.05  # seconds: what is quicker is done three times, and the quickest counts
SOLVABLE = 3000  # weights up to which a certificate is held against a minimiser solved to 1e-12
AGAIN = Exact(("The model was learned again from the rows that are left.",))


def key_for(number: int, *parts: str | int) -> NoiseKey:
    """The noise of release `number` of one cell."""
    text = "\n".join(map(str, ("comparison", *parts)))
    return NoiseKey(hashlib.blake2b(text.encode(), digest_size=32, person=b"expunge-compare").digest(), number)


def step(method: Method[Any], case: Case, seed: int) -> Outcome:
    """Learn all rows, forget, and learn the rest again, all on one seed."""
    name = f"{case.digest}:{seed}"
    first, second = key_for(1, name), key_for(2, name)
    with one_thread():
        learned, learn_seconds = timed(lambda: method.learn(case.rows, seed=seed, noise=first))
        before = method.release(learned)
        done, relearned, forget_seconds = forgetting(method, learned, case.retained, case.forgotten, seed, second)
        after = method.release(done.record)
        # An exact step is repeated under its own key, for its bytes are compared; any other gets noise of its own.
        key = second if isinstance(done.certificate, Exact) else key_for(2, name, "again")
        again, again_seconds = timed(lambda: method.learn(case.retained, seed=seed, noise=key))
        retrained = Learned(method.release(again), again_seconds)
        taken = Step(
            method, seed, before, after, done.certificate, case.retained, case.forgotten, second, dict(done.stats)
        )
        finding = _checked(taken, retrained, key)
        plain = plain_of(method)
        plain_seconds = None if plain is None else timed(lambda: plain.learn(case.retained, seed=seed, noise=key))[1]
        releases = {"before": before, "after": after, "again": retrained.release}
        arrays = {
            f"{which}/{kind}": scores
            for which, release in releases.items()
            for kind, scores in outputs_of(method, release, case).items()
        }
    apart = finding.apart or _apart(method, (before, first), (after, second), (retrained.release, key))
    facts = {
        "certificate": record.encode(done.certificate)[0],
        "relearned": relearned,
        "stats": {name: float(value) for name, value in done.stats.items()},
        "seconds": {"learn": learn_seconds, "forget": forget_seconds, "again": again_seconds, "plain": plain_seconds},
        "bytes": {"record": size(done.record), "release": size(_tree(after))},
        "digests": {name: record.digest(of) for name, of in releases.items()},
        "apart": [to_tree(each) for each in apart],
        "claim": to_tree(finding.claim),
        "contradictions": list(finding.contradictions),
        "unchanged": unchanged(taken),
    }  # fmt: skip
    return Outcome(facts, arrays)


def reference(method: Method[Any], case: Case, seed: int) -> Outcome:
    """One more model of the retained rows, under a seed of its own."""
    noise = key_for(2, "reference", case.digest, seed)
    with one_thread():
        learned, seconds = timed(lambda: method.learn(case.retained, seed=seed, noise=noise))
        release = method.release(learned)
        arrays = outputs_of(method, release, case)
    return Outcome({"seconds": {"learn": seconds}, "digests": {"release": record.digest(release)}}, arrays)


def forgetting(
    method: Method[Any], learned: Any, retained: Rows, forgotten: Rows, seed: int, noise: NoiseKey
) -> tuple[Forgetting[Any], str, float]:
    """The step, or the model learned again where the method asks for it; why it did, or ""; and the seconds."""
    started = time.thread_time()
    try:
        done, seconds = timed(lambda: method.forget(learned, retained, forgotten, noise=noise))
        return done, "", seconds
    except (MustRetrain, Refused, NotConverged) as error:
        why = f"{type(error).__name__}: {error}"
    new = method.learn(retained, seed=seed, noise=noise)
    seconds = time.thread_time() - started
    kept, certificate = learned_again(method, learned, new, len(forgotten), AGAIN)
    return Forgetting(kept, certificate, {}), why, seconds


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What pure work gives, and the seconds of this thread's processor that it took."""
    result, seconds = _once(work)
    if seconds < QUICK:  # the first call also pays for what it loads
        seconds = min(seconds, *(_once(work)[1] for _ in range(2)))
    return result, seconds


def outputs_of(method: Method[Any], release: Release, case: Case) -> dict[str, Array]:
    """The release's scores of the rows that models are looked at on, by kind.

    Raises:
        NotConverged: some are not numbers.
    """
    model = released(method, release)
    found = {kind: model.scores(rows) for kind, rows in case.on.items()}
    if any(np.isnan(scores).any() for scores in found.values()):
        raise NotConverged(f"{type(method).__name__} gives scores that are not numbers: it diverged on these rows.")
    return found


def size(value: Any) -> int:
    """Bytes of a record as it would be stored."""
    tree, tensors = record.encode(value)
    return len(record.canonical(tree)) + sum(part.numel() * part.element_size() for part in tensors.values())


def _once(work: Callable[[], T]) -> tuple[T, float]:
    started = time.thread_time()
    result = work()
    return result, time.thread_time() - started


def _checked(taken: Step, retrained: Learned, key: NoiseKey) -> Finding:
    weights = sum(part.numel() for part in taken.after.tensors.values())
    if isinstance(taken.certificate, Certified) and weights > SOLVABLE and checkable(taken.method) is not None:
        how = f"{weights} weights are too many to solve for the minimiser here: expunge work --audit checks it."
        return Finding(Claim(None, how))
    return check(taken, retrained, key)


def _apart(
    method: Method[Any],
    before: tuple[Release, NoiseKey],
    after: tuple[Release, NoiseKey],
    again: tuple[Release, NoiseKey],
) -> tuple[Apart, ...]:
    """Distances to the model learned again, without noise where it can be told."""
    convex = checkable(method)
    if convex is not None:
        try:
            points = [convex.centre(*each).double() for each in (before, after, again)]
            own, nothing = (float((point - points[2]).norm()) for point in (points[1], points[0]))
            return (Apart("weights without their noise", own, nothing),)
        except (InputError, Refused):
            pass  # one key does not tell the noise of this method's releases
    weights = [released(method, release).tensors for release, _ in (before, after, again)]
    near, far = (weight_distance(one, weights[2]) for one in (weights[1], weights[0]))
    return () if near is None or far is None else (Apart("released weights", near, far),)


def _tree(release: Release) -> Mapping[str, Any]:
    return {"tensors": dict(release.tensors), "settings": dict(release.settings)}


def certificate_of(facts: Mapping[str, Any]) -> Certificate:
    """The certificate that a cell's facts hold."""
    return cast("Certificate", record.decode(facts["certificate"], {}))
