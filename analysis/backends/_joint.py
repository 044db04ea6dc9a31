"""What transformers of two streams share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._latent import Latent, Reads


class Joint(Latent):
    """A transformer of two streams, text and image: blocks give both, in this order."""

    @staticmethod
    def picked(output: Any) -> Tensor:
        found: Tensor = output[1] if isinstance(output, tuple) else output
        return found

    @classmethod
    def blank(cls, net: Any, side: int) -> Reads:
        empty = next(net.parameters()).new_zeros
        return {
            "encoder_hidden_states": empty(1, 2, net.config["joint_attention_dim"]),
            "pooled_projections": empty(1, net.config["pooled_projection_dim"]),
        }
