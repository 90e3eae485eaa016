r"""I(D_u; h^U): how much the forgotten rows and the release can have in common, from the certificate alone.

Given the retained rows, let P_z be the law of the release when the forgotten rows are z, and Q that of learning without
them. For any Q, I(D_u; h | D_r) = E_z KL(P_z || P) <= E_z KL(P_z || Q), P the mean of the P_z (the difference is
KL(P || Q) >= 0). So a certificate that holds for every z bounds the information, whatever law the rows come from.
If the rows are independent of one another, I(D_u; h) <= I(D_u; h | D_r). Never more than the entropy of D_u.

- Exact: P_z = Q, 0 nats.
- mu-GDP: KL(P_z || Q) <= mu^2 / 2, because the pair is a post-processing of N(mu, 1) and N(0, 1) (Dong, Roth & Su 2022,
  theorem 2.10), and post-processing lowers a divergence.
- (epsilon, 0): both log-ratios lie in [-epsilon, epsilon]; the largest divergence is that of randomised response,
  epsilon tanh(epsilon / 2), at most epsilon and at most epsilon^2 / 2.
- (epsilon, delta), delta > 0, and nothing more: *no* bound without one on the entropy H of D_u, for a mechanism that
  publishes D_u with probability delta is (0, delta) and has delta H nats. With H: the pair is a post-processing of one
  that with probability delta gives itself away and otherwise is (epsilon, 0) (Kairouz, Oh & Viswanath 2015, theorem
  3.1). P_z = delta E_z + (1 - delta) R_z, Q = delta E'_z + (1 - delta) R'_z, hence Q >= (1 - delta) R'_z and
  KL(R_z || Q) <= epsilon tanh(epsilon / 2) - ln(1 - delta). The coin that picks the part owes nothing to z, so

      I <= delta H + (1 - delta) (epsilon tanh(epsilon / 2) - ln(1 - delta)).

The bound by mu is of ideal Gaussian noise: that of a computer has (epsilon, delta) only, and its tails end.
"""

from __future__ import annotations

import math

from expunge.certificate import Certificate, Certified, Exact, Uncertified


def information_bound(certificate: Certificate | None, entropy: float = math.inf) -> float:
    """An upper bound on I(D_u; h^U | D_r) in nats; infinite where none is known.

    Args:
        certificate: of the step. entropy: of the forgotten rows in nats, at most ln k if they are one of k
            possibilities; a continuous feature has infinitely many.
    """
    match certificate:
        case Exact():
            return 0.0
        case Certified(epsilon=epsilon, delta=delta, mu=mu):
            return min(entropy, _gaussian(mu), bound_of_pair(epsilon, delta, entropy))
        case Uncertified() | None:
            return entropy


def bound_of_pair(epsilon: float, delta: float, entropy: float = math.inf) -> float:
    """The bound in nats that (epsilon, delta) alone gives; infinite where delta > 0 and the entropy is not bounded."""
    pure = epsilon * math.tanh(epsilon / 2) if math.isfinite(epsilon) else math.inf
    if delta <= 0:
        return min(pure, entropy)
    if delta >= 1:
        return entropy
    return min(delta * entropy + (1 - delta) * (pure - math.log1p(-delta)), entropy)


def _gaussian(mu: float) -> float:
    return mu**2 / 2 if mu > 0 else math.inf  # 0 and below: a certificate that states no mu
