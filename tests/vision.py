"""Tiny vision models of random weights, saved as their makers save theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as library
from torch import nn

TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50, "projection_dim": 8}
MEAN, SPREAD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {  # the class that is saved, its configuration
    "resnet": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "vit": ("ViTForImageClassification", "ViTConfig", TOWER),
    "mae": (
        "ViTMAEForPreTraining",
        "ViTMAEConfig",
        {
            **TOWER,
            "decoder_hidden_size": 16,
            "decoder_intermediate_size": 16,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
        },
    ),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**TOWER, "image_size": 24}),
    "clip": ("CLIPModel", "CLIPConfig", {"text_config": TEXT, "vision_config": TOWER, "projection_dim": 8}),
    "clip-vision": ("CLIPVisionModel", "CLIPVisionConfig", TOWER),
    "siglip": ("SiglipModel", "SiglipConfig", {"text_config": TEXT, "vision_config": TOWER}),
    "siglip-vision": ("SiglipVisionModel", "SiglipVisionConfig", TOWER),
    "convnext": ("ConvNextModel", "ConvNextConfig", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4}),
    "ijepa": ("IJepaModel", "IJepaConfig", TOWER),
}


def save(name: str, folder: Path, **preprocessing: Any) -> Any:
    """One of MODELS in a folder, with what its images are to be like; returns the model as it was saved."""
    model_class, config_class, fields = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(library, model_class)(getattr(library, config_class)(**fields)).eval()
        for parameter in model.parameters():  # biases, norms and tokens start at 0 or 1: an error in them would not be seen
            nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    model.save_pretrained(folder)
    said = {"size": {"height": 16, "width": 16}, "image_mean": MEAN, "image_std": SPREAD, "do_normalize": True} | preprocessing
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return model
