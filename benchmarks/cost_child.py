"""`python -m benchmarks.cost_child TABLE`: opens a Parquet file of images and extracts all of them; prints its peak memory in bytes."""

from __future__ import annotations

import io
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image

from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store, default_root

SIDE, CLASSES, GROUP = 16, 10, 1000


def write(path: Path, images: int) -> Path:
    """A Parquet file of random 16×16 images in ten classes."""
    rng = np.random.default_rng(0)
    columns = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    with pq.ParquetWriter(path, columns) as file:
        for start in range(0, images, GROUP):
            pixels = rng.integers(0, 256, (min(GROUP, images - start), SIDE, SIDE, 3), dtype=np.uint8)
            file.write_table(pa.table({"image": [png(one) for one in pixels], "label": np.arange(len(pixels)) % CLASSES}, schema=columns))
    return path


def png(pixels: np.ndarray) -> bytes:
    """An image (h, w, 3) uint8 as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def network(place: Path) -> Path:
    """A network of random weights that is little work."""
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(16, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    ).save_pretrained(place)
    DDPMScheduler().save_pretrained(place)
    return place


def main(table: str) -> int:
    """Extract as a sweep does."""
    torch.set_num_threads(1)
    backend = str(network(default_root() / "network"))
    request = SweepRequest(backend=backend, dataset=table, levels=3, labels_per_class=("all",), eps_draws=2, baselines=False)
    bench = Bench(request, Store())
    bench.extract(bench.sigmas[1], 0)
    return highest()


def highest() -> int:
    """Bytes of this process's highest resident set. Linux's ru_maxrss would begin with that of the process it was started by."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(main(sys.argv[1]))
