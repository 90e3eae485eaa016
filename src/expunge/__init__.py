"""expunge: machine unlearning you can put your name to.

Learn models in a way that lets them forget, forget on request, state what that forgetting guarantees, audit it against
retraining, and hand out a receipt that a stranger can check. Names are imported when they are first used, so that
`expunge --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Certificate": "certificate",
    "Certified": "certificate",
    "Exact": "certificate",
    "Forgetting": "method",
    "Method": "method",
    "NoiseKey": "noise",
    "Pipeline": "features",
    "Release": "method",
    "Rows": "rows",
    "Uncertified": "certificate",
    "Vault": "vault",
    "codec": "maths.conditional_dependence",
    "feature_sensitivity": "maths.feature_sensitivity",
    "foci": "maths.feature_ordering",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module 'expunge' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"expunge.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
