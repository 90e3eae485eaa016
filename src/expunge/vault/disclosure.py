"""What a receipt tells openly of a step: its method, its environment, and what two releases give away together.

These are functions of the releases and of public settings; whatever else the step knows is only committed to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from expunge.certificate import Certificate, Certified, View
from expunge.features.pipeline import PREFIX as FEATURES
from expunge.maths.privacy import two_release_exposure
from expunge.method import Method, Release
from expunge.record import tensor_digest


def exposure(before: Release, after: Release, certificate: Certificate) -> float:
    """How well two candidate histories can be told apart by who holds both releases: mu of Gaussian DP.

    ||before - after|| / (sqrt(2) noise_std), from the two releases alone, or over the increment where noise is carried
    on; infinite where there is no noise, where the certificate speaks of one release only, or where something else than
    noised weights changed.
    """
    if not isinstance(certificate, Certified) or certificate.view is View.ONE_RELEASE:
        return math.inf
    names = sorted(before.tensors)
    if names != sorted(after.tensors) or dict(before.settings) != dict(after.settings):
        return math.inf
    pairs = [(before.tensors[name], after.tensors[name]) for name in names]
    if any(not _comparable(old, new) for old, new in pairs) or _features_changed(before, after):
        return math.inf
    old, new = (torch.cat([pair[side].detach().cpu().double().flatten() for pair in pairs]) for side in (0, 1))
    noise_std = certificate.increment_std / math.sqrt(2) or certificate.noise_std
    return float(two_release_exposure(old, new, noise_std))


def _comparable(old: Tensor, new: Tensor) -> bool:
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    return old.is_floating_point() or bool(torch.equal(old, new))


def _features_changed(before: Release, after: Release) -> bool:
    """Whether a fitted statistic moved: it has no noise, or noise of another size than the weights'."""
    names = [name for name in before.tensors if name.startswith(FEATURES)]
    return any(not torch.equal(before.tensors[name], after.tensors[name]) for name in names)


def described(method: Method[Any]) -> dict[str, Any]:
    """A method's name and hyperparameters, as JSON. Long texts and tensors appear as digests."""
    tree = _described(method)
    return {"name": tree.pop("type"), "hyperparameters": tree}


def _described(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else repr(value)
        case str():
            return value if len(value) <= 200 else {"sha256": hashlib.sha256(value.encode()).hexdigest()}
        case bytes():
            return {"sha256": hashlib.sha256(value).hexdigest()}
        case Tensor():
            return {"tensor": tensor_digest(value)}
        case tuple() | list():
            return [_described(item) for item in value]
        case Mapping():
            return {str(key): _described(item) for key, item in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: _described(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"type": type(value).__name__} | fields
        case _:
            return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def environment() -> dict[str, str]:
    """What a bitwise comparison depends on besides the seed: versions, machine, instruction set."""
    packages = ("expunge", "numpy", "scikit-learn", "scipy", "torch")
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    } | {name: version(name) for name in packages}
