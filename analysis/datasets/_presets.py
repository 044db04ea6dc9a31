"""Well-known data sets by a short name: where they are on the hub, which columns are read, and what is known of them.

Each was written down from what is published of it and is `checked: never` until `python -m analysis presets verify` has opened it.
Licences are as the data's makers or the hub's card state them; "unstated" where neither does: then ask before you use it.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode


class Preset(NamedTuple):
    """A data set on the hub: columns of images and of labels, first the one that is probed, and the splits' own names."""

    name: str
    title: str
    repo_id: str
    config: str
    image: str
    labels: tuple[str, ...]
    splits: dict[str, str]  # as what each is used: its own name
    classes: int
    licence: str
    source: str

    def argument(self, query: str = "") -> str:
        """What `hub` takes; `query` are the options given beside the name, which win."""
        own = {"config": self.config, "image": self.image, "label": ",".join(self.labels)}
        named = {used: name for used, name in self.splits.items() if used != name}
        options = urlencode({name: value for name, value in (own | named).items() if value}, safe=",")
        return f"{self.repo_id}?{options}{'&' if query else ''}{query}"


TWO = {"train": "train", "test": "test"}
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "cifar10",
            "CIFAR-10",
            "uoft-cs/cifar10",
            "plain_text",
            "img",
            ("label",),
            TWO,
            10,
            "unstated",
            "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        ),
        Preset(
            "cifar100",
            "CIFAR-100",
            "uoft-cs/cifar100",
            "cifar100",
            "img",
            ("fine_label", "coarse_label"),
            TWO,
            100,
            "unstated",
            "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        ),
        Preset(
            "tiny-imagenet",
            "Tiny ImageNet",
            "zh-plus/tiny-imagenet",
            "",
            "image",
            ("label",),
            {"train": "train", "test": "valid"},
            200,
            "unstated; ImageNet's terms (research, not commercial)",
            "Stanford CS231n; of ImageNet, doi:10.1007/s11263-015-0816-y",
        ),
        Preset(
            "imagenette",
            "Imagenette",
            "frgfm/imagenette",
            "320px",
            "image",
            ("label",),
            {"train": "train", "test": "validation"},
            10,
            "Apache 2.0 (the selection); ImageNet's terms for the images",
            "J. Howard, github.com/fastai/imagenette",
        ),
        Preset(
            "flowers102",
            "Oxford Flowers 102",
            "nelorth/oxford-flowers",
            "",
            "image",
            ("label",),
            TWO,
            102,
            "unstated",
            "M.-E. Nilsback and A. Zisserman, ICVGIP 2008, doi:10.1109/ICVGIP.2008.47; this copy's splits are not the paper's",
        ),
        Preset(
            "pets",
            "Oxford-IIIT Pet",
            "timm/oxford-iiit-pet",
            "",
            "image",
            ("label",),
            TWO,
            37,
            "CC BY-SA 4.0",
            "O. M. Parkhi et al., CVPR 2012, doi:10.1109/CVPR.2012.6248092",
        ),
        Preset(
            "dtd",
            "Describable Textures",
            "tanganke/dtd",
            "",
            "image",
            ("label",),
            TWO,
            47,
            "unstated; for research",
            "M. Cimpoi et al., CVPR 2014, doi:10.1109/CVPR.2014.461",
        ),
        Preset(
            "cub",
            "Caltech-UCSD Birds 200 (2011)",
            "bentrevett/caltech-ucsd-birds-200-2011",
            "",
            "image",
            ("label",),
            TWO,
            200,
            "unstated; for research, not commercial",
            "C. Wah et al., Caltech CNS-TR-2011-001",
        ),
    )
}
