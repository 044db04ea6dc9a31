"""What a class-conditional network is told of its images while it is trained: their class, and of a share of them nothing.

So one network learns the images of each class and, under the null class, of all (Ho & Salimans, Classifier-Free Diffusion Guidance,
arXiv 2207.12598). The null class is the last row of the class table.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .datasets.base import Dataset
from .errors import InvalidData
from .recipes import Recipe


def classes_of(spec: Recipe, dataset: Dataset, seen: np.ndarray) -> Tensor:
    """The class (n,) int64 of the images in `seen` (N,) bool, by the first label set. Raises InvalidData where not all have one of the recipe's."""
    labels, count = dataset.label_set(), spec.network["num_class_embeds"] - 1
    values = labels.values[seen]
    if labels.numbers is not None or len(labels.classes) != count or (values < 0).any() or dataset.fresh(spec.seed, 0, 1) is not None:
        raise InvalidData(
            f"{spec.name} learns {count} classes; allowed: data of as many, in which every image has one, and no others come."
        )
    return torch.from_numpy(values)


def withhold(spec: Recipe, classes: Tensor, generator: torch.Generator) -> Tensor:
    """What the network is told of images of these classes (B,): their class, or the null class."""
    assert spec.class_dropout is not None
    withheld = torch.rand(len(classes), generator=generator, device=classes.device) < spec.class_dropout
    return torch.where(withheld, spec.network["num_class_embeds"] - 1, classes)
