"""What a network predicts, as the posterior mean x̂_0 in σ."""

from __future__ import annotations

from torch import Tensor

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def denoised(prediction: str, x: Tensor, sigma: Tensor, made: Tensor) -> Tensor:
    """x̂_0 of a prediction F at x_σ unscaled; σ as x or (B, 1, 1, 1).

    ε: x_σ - σ F; v = (ε - σ x_0)/√(1+σ²): (x_σ - σ √(1+σ²) F)/(1+σ²) (Salimans & Ho, arXiv 2202.00512, appendix D); x_0: F.
    Flow, v = ε - x_0 at x_t = x_σ/(1+σ) and t = σ/(1+σ): x_t - t F (Lipman et al., arXiv 2210.02747).
    """
    if prediction == "epsilon":
        return x - sigma * made
    if prediction == "v_prediction":
        scale = (1 + sigma**2).rsqrt()
        return scale * (scale * x - sigma * made)
    if prediction == "flow":
        return (x - sigma * made) / (1 + sigma)
    return made
