"""The budget of noisy releases: how far from the minimiser each may be, and what that certifies.

Release t of a vault may lie `distance(t) = noise_std mu sqrt(6) / (pi t)` from the one of a life without the forgotten
rows; both sides err, so a solve may use half. docs/certificates.md derives why the releases from any deletion on then
compose to at most mu, hence to (epsilon, delta).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, Refused
from expunge.maths.floating_point import RELEASES, under_true_noise
from expunge.maths.privacy import mu_of, release_share
from expunge.noise import GRID_BITS


@dataclass(frozen=True)
class Budget:
    """What all releases after a deletion together may spend.

    Args:
        epsilon, delta: the guarantee. noise_std: of the noise on every released coordinate.
        max_epsilon: a larger epsilon is refused.
    """

    epsilon: float
    delta: float
    noise_std: float
    max_epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= self.max_epsilon:
            raise InputError(f"epsilon is {self.epsilon}; give one above 0 and at most max_epsilon={self.max_epsilon}.")
        if not 0 < self.delta < 1:
            raise InputError(f"delta is {self.delta}; give a probability, such as 1e-5.")
        if not 0 < self.noise_std < inf:
            raise InputError(f"noise_std is {self.noise_std}; without noise nothing is certified: try 0.01.")

    def mu(self, coordinates: int) -> float:
        """The Gaussian-DP budget for `coordinates` released numbers, less what machine noise costs.

        Raises:
            InputError: nothing is left.
        """
        return mu_of(*under_true_noise(self.epsilon, self.delta, coordinates, GRID_BITS))

    def distance(self, release: int, coordinates: int) -> float:
        """What the centres of release number `release` and of its reference may be apart (Euclidean).

        Raises:
            Refused: a release past those whose machine noise `mu` has paid for.
        """
        if release > RELEASES:
            raise Refused(
                f"Release {release} is past the {RELEASES:,} that the noise of float64 was charged for in advance: "
                "begin a new vault (its releases count anew)."
            )
        return self.noise_std * self.mu(coordinates) * release_share(release)

    def certificate(
        self,
        release: int,
        coordinates: int,
        assumptions: tuple[str, ...],
        *,
        basis: Basis = Basis.MEASURED,
        view: View = View.STATE,
        reference: str = "the minimiser on the retained rows alone",
        doing_nothing_meets_it: bool = False,
    ) -> Certified:
        """The certificate of a release whose centre is known to lie within its half of the distance.

        Args:
            basis: how that is known. view: `TRANSCRIPT` where the record keeps weights without their noise.
            reference: what the other half is for: the centre that learning without the rows comes near.
        """
        distance = self.distance(release, coordinates)
        return Certified(
            epsilon=self.epsilon,
            delta=self.delta,
            mu=self.mu(coordinates),
            distance=distance,
            noise_std=self.noise_std,
            basis=basis,
            view=view,
            reference=(
                f"{reference}, solved to within {distance / 2:.3g} (Euclidean), plus "
                f"independent normal noise of standard deviation {self.noise_std} on each of {coordinates} coordinates"
            ),
            assumptions=assumptions,
            doing_nothing_meets_it=doing_nothing_meets_it,
        )
