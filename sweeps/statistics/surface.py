"""A smooth probability over the unit square, fitted to counts: the model of `sweeps.boundary`.

With (u, v) the axes, in the logarithm where asked, scaled so that the plane is [0, 1]²:

    logit P(u, v) = b₀ + b₁ (u - ½) + b₂ (v - ½) + Σ_k w_k exp(-((u - u_k)² + (v - v_k)²) / 2ℓ²),

with centres (u_k, v_k) on a fixed 8 × 8 grid and Gaussian priors on the weights: a ridge, and a small one on b. The
length ℓ and the scale s of the priors are those of a small set with the largest evidence in Laplace's approximation
(MacKay 1992, doi 10.1162/neco.1992.4.5.720); the weights are the posterior's mode, by Newton's method.
"""

import numpy as np
from scipy.special import expit

CENTRES = 8  # along each axis
LENGTHS = (0.15, 0.25, 0.4, 0.7)
SPREADS = (3.0, 10.0, 30.0, 100.0)  # s: prior standard deviation of Σ_k, in logits, in the middle of the plane
LINEAR = 3.0  # prior standard deviation of b₀, b₁ and b₂, in units of s
PRECISE, ROUGH = 1e-10, 1e-4  # Newton decrements, in units of the log posterior, at which a mode and a replicate end


def basis(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """The functions that b and w weigh, (…, K)."""
    at = np.linspace(0, 1, CENTRES)
    along_u, along_v = (np.exp(-0.5 * ((t[..., None] - at) / radius) ** 2) for t in (u, v))
    radial = (along_v[..., :, None] * along_u[..., None, :]).reshape(*u.shape, CENTRES**2)
    return np.concatenate([np.stack([np.ones_like(u), u - 0.5, v - 0.5], -1), radial], -1)


class Model:
    """The penalised likelihood over given points, for one ℓ and s."""

    def __init__(self, design: np.ndarray, products: np.ndarray, radius: float, spread: float):
        self.design, self.products, self.radius, self.spread = design, products, radius, spread
        squares = np.sum(basis(np.array(0.5), np.array(0.5), radius)[3:] ** 2)
        self.precision = np.full(design.shape[1], squares / spread**2)
        self.precision[:3] = (LINEAR * spread) ** -2

    def mode(
        self, trials: np.ndarray, events: np.ndarray, centre: np.ndarray, start: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """Weights (R, K) of largest posterior, of R problems at once, by Newton's method with halved steps.

        Args:
          trials, events: (R, points) counts.
          centre: (R, K) of the prior.
          start: (R, K).
          tolerance: largest Newton decrement, twice what the log posterior could still gain.
        """

        def loss(weights):
            eta = weights @ self.design.T
            prior = 0.5 * (self.precision * (weights - centre) ** 2).sum(1)
            return (trials * np.logaddexp(0, eta) - events * eta).sum(1) + prior

        weights, at = start, loss(start)
        for _ in range(200):
            p = expit(weights @ self.design.T)
            gradient = (trials * p - events) @ self.design + self.precision * (weights - centre)
            step = np.linalg.solve(self._hessian(trials * p * (1 - p)), gradient[..., None])[..., 0]
            decrement = (gradient * step).sum(1)
            if decrement.max() < tolerance:
                break
            size = np.ones(len(weights))
            for _ in range(30):
                there = loss(weights - size[:, None] * step)
                worse = there > at - 1e-4 * size * decrement + 1e-12 * np.abs(at)
                if not worse.any():
                    break
                size[worse] /= 2
            weights, at = weights - size[:, None] * step, there
        return weights

    def evidence(self, trials: np.ndarray, events: np.ndarray, weights: np.ndarray) -> float:
        """Laplace's approximation of the log evidence of one problem at its mode, up to a constant."""
        eta = weights @ self.design.T
        p = expit(eta)
        _, curvature = np.linalg.slogdet(self._hessian(trials * p * (1 - p)))
        likelihood = (events * eta - trials * np.logaddexp(0, eta)).sum()
        prior = 0.5 * (np.log(self.precision) - self.precision * weights**2).sum()
        return float(likelihood + prior - 0.5 * curvature[0])

    def _hessian(self, weight: np.ndarray) -> np.ndarray:
        size = len(self.precision)
        hessian = np.empty((len(weight), size, size))
        i, j = np.triu_indices(size)
        hessian[:, i, j] = hessian[:, j, i] = weight @ self.products
        hessian[:, range(size), range(size)] += self.precision
        return hessian


def chosen(points: np.ndarray, trials: np.ndarray, events: np.ndarray) -> tuple[Model, np.ndarray]:
    """The model of largest evidence, and its mode (1, K)."""
    found: list[tuple[float, Model, np.ndarray]] = []
    for radius in LENGTHS:
        design = basis(points[:, 0], points[:, 1], radius)
        i, j = np.triu_indices(design.shape[1])
        products = design[:, i] * design[:, j]
        weights = zero = np.zeros((1, design.shape[1]))
        for spread in SPREADS:
            model = Model(design, products, radius, spread)
            weights = model.mode(trials, events, zero, weights, PRECISE)
            found.append((model.evidence(trials, events, weights), model, weights))
    _, model, weights = max(found, key=lambda one: one[0])
    return model, weights
