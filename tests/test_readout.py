from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import readout
from analysis.backends import open_backend
from analysis.errors import UnknownName
from analysis.features import capture, load_x0, pool, read_features
from analysis.noise import noise_like
from analysis.studies import find_study

STUDY = find_study("digits")


def test_a_folded_probe_says_what_the_scaled_one_says() -> None:
    rng = np.random.default_rng(0)
    mean, spread, weight, bias, x = (
        rng.normal(size=5),
        rng.uniform(0.5, 2, 5),
        rng.normal(size=(3, 5)),
        rng.normal(size=3),
        rng.normal(size=(7, 5)),
    )
    folded, offset = readout.fold(mean, spread, weight, bias)
    np.testing.assert_allclose(x @ folded.T + offset, ((x - mean) / spread) @ weight.T + bias, atol=1e-5)


def test_the_kept_probes_say_on_test_images_what_the_study_keeps(digits) -> None:  # type: ignore[no-untyped-def]
    from safetensors.numpy import load_file

    kept = load_file(STUDY.path("logits.safetensors"))
    name = next(name for name in kept if name.startswith("10/"))
    _, level, block, _ = name.split("/")
    model, ids = open_backend("digits-ddpm"), kept["test"][:20]
    x0 = load_x0(digits, ids, model)
    found = readout.of_study(STUDY)
    features = read_features(model, [f"{block}/1"], x0, noise_like(x0, ids.tolist(), 0, 0), found.sigmas[int(level)], 20)
    logits = found.logits(int(level), block, features[f"{block}/1"].numpy())
    np.testing.assert_allclose(logits, kept[name][:20], atol=2e-2, rtol=2e-3)  # kept in float16


def test_a_block_that_was_not_probed_is_named() -> None:
    with pytest.raises(UnknownName, match="nowhere"):
        readout.of_study(STUDY).probe(0, "nowhere")


def test_a_pass_that_goes_to_its_end_gives_what_the_network_makes_too(tiny) -> None:  # type: ignore[no-untyped-def]
    x, sigma = torch.randn(2, 1, 8, 8), torch.full((2,), 0.5, dtype=torch.float64)
    with torch.inference_mode(), capture(tiny, ["mid.res0"], lambda value: pool(value, 1), stop=False) as taps:
        taps(x, sigma)
        assert taps.made is not None
        assert torch.equal(taps.made, tiny.denoise(x, sigma))
