"""Certifiability: how differently two models perform on the forgotten rows."""

from __future__ import annotations


def certifiability(own: float, retrained: float) -> float:
    """|M_u^U - M_u^*| / (|M_u^U| + |M_u^*|), in [0, 1]; 0 when both are 0 (Mercuri et al. 2022, section 2).

    A symmetric relative difference, not a certificate: doing nothing scores 0 on rows that any model gets right.
    """
    scale = abs(own) + abs(retrained)
    return abs(own - retrained) / scale if scale > 0 else 0.0
