from __future__ import annotations

import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features
from datasets import Image as HubImage
from PIL import Image

from analysis.errors import InvalidRequest, UnknownName
from analysis.figures import GREY, look
from analysis.map_classes import SHOWN, grouped, placed, said
from analysis.map_export import page, parquet, svg
from analysis.uploads import encode

HOSTILE = ["</script><script>alert(1)</script>", "\"quotes' & <b>", "two\nlines\x00", "🦊", "<!--", "]]>", "${x}`"]
SVG = "{http://www.w3.org/2000/svg}"


def table(n: int = 6, labels: list[str] | None = None) -> pd.DataFrame:
    random, names = np.random.default_rng(0), labels or ["cat", "dog"]
    return pd.DataFrame(
        {
            "id": [f"{row:016x}" for row in range(n)],
            "x": random.normal(size=n),
            "y": random.normal(size=n),
            "label": [names[row % len(names)] for row in range(n)],
            "prediction": [names[0]] * n,
            "confidence": random.random(n),
            "correct": [row % len(names) == 0 for row in range(n)],
            "writer": [row % 3 for row in range(n)],
        }
    )


def images(n: int = 6) -> list[bytes]:
    return [encode(pixels) for pixels in np.random.default_rng(1).integers(0, 256, (n, 8, 8, 3), np.uint8)]


def neighbours(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(n)[:, None] + np.arange(3)) % n, np.arange(3.0) + np.zeros((n, 1))


def read(data: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(data))


def data_of(text: str) -> dict:
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[0])


def test_parquet_gives_back_what_went_in() -> None:
    found = read(parquet(table(), images(), neighbours()))
    pd.testing.assert_frame_equal(found[table().columns], table())
    assert [picture["bytes"] for picture in found.image] == images()
    assert Image.open(io.BytesIO(found.image[2]["bytes"])).size == (8, 8)
    assert [near["ids"].tolist() for near in found.neighbors] == neighbours()[0].tolist()
    assert [near["distances"].tolist() for near in found.neighbors] == neighbours()[1].tolist()


def test_parquet_leaves_out_rows_without_a_place_and_numbers_neighbours_anew() -> None:
    given = table()
    given.loc[1, "x"], given.loc[4, "y"] = np.nan, np.inf
    data = parquet(given, images(), neighbours(), [("block", "mid")])
    found = read(data)
    assert found.id.tolist() == given.id[[0, 2, 3, 5]].tolist()
    assert found.neighbors[0]["ids"].tolist() == [0, -1, 1]  # itself, one that is gone, row 2
    assert json.loads(pq.read_schema(io.BytesIO(data)).metadata[b"noisescope"]) == {"facts": [["block", "mid"]], "left_out": 2}


def test_the_hub_sees_pictures_and_plain_text_in_parquet() -> None:
    given = table().astype({"label": "category", "writer": "uint8"})
    found = Features.from_arrow_schema(pq.read_schema(io.BytesIO(parquet(given, images(), neighbours()))))
    assert isinstance(found["image"], HubImage)
    assert {found[name].dtype for name in ("id", "label", "prediction")} == {"string"}
    assert found["writer"].dtype == "int64"


@pytest.mark.parametrize("right", [[True, False, None], [None, None, None]])
def test_whether_a_reading_is_right_may_be_unknown(right: list[bool | None]) -> None:
    given = table(3).assign(correct=pd.array(right, "boolean"))
    data = parquet(given)
    assert pq.read_schema(io.BytesIO(data)).field("correct").type == pa.bool_()
    assert pq.read_table(io.BytesIO(data))["correct"].to_pylist() == right
    assert Features.from_arrow_schema(pq.read_schema(io.BytesIO(data)))["correct"].dtype == "bool"
    (field,) = (field for field in data_of(page(given, None, "map", ""))["fields"] if field["title"] == "correct")
    assert [field["names"][row] for row in field["rows"]] == [{True: "yes", False: "no", None: ""}[one] for one in right]
    texts = [text.text for text in ElementTree.fromstring(svg(given, by="correct")).findall(f"{SVG}text")]
    assert texts == (["False", "1", "True", "1", "no label", "1"] if True in right else ["no label", "3"])


def test_embedding_atlas_reads_parquet(tmp_path) -> None:
    utils = pytest.importorskip("embedding_atlas.utils", reason="Embedding Atlas is not among the requirements")
    from embedding_atlas.graph_metrics import compute_pagerank_column

    path = tmp_path / "map.parquet"
    path.write_bytes(parquet(table(), images(), neighbours()))
    found = utils.load_pandas_data(str(path))
    assert compute_pagerank_column(found, neighbors="neighbors").sum() == pytest.approx(1)
    assert len(read(utils.to_parquet_bytes(found))) == 6


def test_an_image_may_lack_its_file() -> None:
    found = read(parquet(table(2), [b"", images(1)[0]]))
    assert found.image[0] is None
    assert found.image[1]["path"] == f"{1:016x}.png"


@pytest.mark.parametrize(
    ("files", "near", "words"),
    [
        (images(5), None, "There are 5 images for 6 rows"),
        ([b"RIFF"] * 6, None, "begins with b'RIFF'; allowed: PNG or JPEG"),
        (None, (np.zeros((6, 2), int), np.zeros((6, 3))), r"allowed: both \(n, k\) for 6 rows"),
        (None, (np.full((6, 2), 6), np.zeros((6, 2))), "numbered from 0"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(files: list[bytes] | None, near: tuple | None, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parquet(table(), files, near)


def test_columns_that_are_missing_or_taken_are_said() -> None:
    with pytest.raises(InvalidRequest, match="allowed: those with x and y among them"):
        parquet(table().drop(columns="y"))
    with pytest.raises(InvalidRequest, match="has a column image"):
        parquet(table().assign(image=1))
    with pytest.raises(UnknownName, match=r"Unknown column 'labels'; allowed: .* Did you mean 'label'"):
        page(table(), None, "map", "", by="labels")


def test_hostile_labels_stay_text_in_every_export() -> None:
    given = table(7, HOSTILE)
    text, drawn = page(given, None, HOSTILE[0], HOSTILE[1], [(HOSTILE[1], HOSTILE[0])]), svg(given, title=HOSTILE[0], caption=HOSTILE[1])
    assert text.count("<script") == text.count("</script>") == 2
    assert set(data_of(text)["fields"][0]["names"]) == {said(label) for label in HOSTILE}
    assert len(ElementTree.fromstring(drawn).findall(f"{SVG}path")) == 14
    assert "\x00" not in text.encode().decode() + drawn.encode().decode()
    assert read(parquet(table(6, HOSTILE[:3]))).label.tolist() == HOSTILE[:3] * 2


def test_what_neither_xml_nor_html_may_hold_is_replaced() -> None:
    assert said("a\x00b\ud800c\n d") == "a\ufffdb\ufffdc d"


def test_the_page_asks_the_network_for_nothing() -> None:
    text = page(table(), ["data:image/png;base64,AA"] * 6, "map", "caption")
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", text) == []
    assert re.findall(r"(?:https?:)?//\w", text) == []
    with pytest.raises(InvalidRequest, match="allowed: data:image/, so that the page needs no network"):
        page(table(1), ["https://example.org/a.png"], "map", "caption")


def test_the_page_says_what_is_left_out() -> None:
    given = table().assign(z=1.0)
    given.loc[0, "x"] = np.nan
    text = page(given, ["data:image/png;base64,AA", *["data:image/png;base64,AB"] * 2, "", "", ""], "map", "caption")
    assert "1 of 6 images without a place on this map is left out." in text
    assert "its first two are drawn" in text
    assert "2 of 5 images have a picture." in text
    assert data_of(text)["pictures"] == ["data:image/png;base64,AB"] * 2 + [""] * 3


def test_a_map_of_nothing_says_so() -> None:
    for given in (table(0), table(3).assign(x=np.nan)):
        assert "No image has a place on this map." in page(given, None, "map", "caption")
        assert "No image has a place on this map." in "".join(ElementTree.fromstring(svg(given)).itertext())
        assert len(read(parquet(given, images(len(given))))) == 0


@pytest.mark.parametrize("x", [[0.0], [3.0, 3.0]])
def test_points_on_one_spot_are_drawn(x: list[float]) -> None:
    given = table(len(x)).assign(x=x, y=x)
    assert data_of(page(given, None, "map", ""))["x"] == [0] * len(x)
    assert "nan" not in svg(given)


def test_svg_has_a_marker_for_every_image_and_a_legend_with_counts() -> None:
    root = ElementTree.fromstring(svg(table(7), title="A map", caption="What it shows."))
    markers = {path.get("fill"): path.get("d", "").count("M") for path in root.findall(f"{SVG}path") if path.get("fill-opacity")}
    assert markers == {look(0)[0]: 4, look(1)[0]: 3}
    assert [text.text for text in root.findall(f"{SVG}text")] == ["cat", "4", "dog", "3", "What it shows.", "A map"]
    assert "font-face" not in svg(table())


def test_svg_draws_every_marker_within_its_frame() -> None:
    root = ElementTree.fromstring(svg(table(200), width=500, height=300))
    frame = {name: float(root.findall(f"{SVG}rect")[1].get(name, "")) for name in ("x", "y", "width", "height")}
    for path in root.findall(f"{SVG}path"):
        if path.get("fill-opacity"):
            size = float(re.findall(r"scale\((.*)\)", path.get("transform", ""))[0])
            at = np.array(re.findall(r"M([-\d.]+),([-\d.]+)", path.get("d", "")), float) * size
            assert (at >= (frame["x"], frame["y"])).all()
            assert (at <= (frame["x"] + frame["width"], frame["y"] + frame["height"])).all()


def test_distances_have_one_scale_on_both_axes() -> None:
    _, at = placed(pd.DataFrame({"x": [0, 10, 5], "y": [1, 1, 6]}))
    np.testing.assert_allclose(at, [[0, 0], [1, 0], [0.5, 0.5]])


def test_a_class_keeps_its_look_where_another_has_no_images() -> None:
    groups, of = grouped(table(), "label", ["ant", "dog", "cat"])
    assert [(group.name, group.colour, group.count) for group in groups] == [("dog", look(1)[0], 3), ("cat", look(2)[0], 3)]
    assert of.tolist() == [1, 0] * 3


def test_after_28_classes_the_rest_are_others_and_28_looks_differ() -> None:
    names = [f"class {index:02d}" for index in range(40)]
    groups, _ = grouped(table(80, names), "label")
    assert len(groups) == SHOWN + 1 == 29
    assert (groups[-1].name, groups[-1].colour, groups[-1].count) == ("others (12 classes)", GREY, 24)
    assert len({(group.colour, group.outline) for group in groups[:-1]}) == 28


def test_images_without_a_label_are_a_group_of_their_own() -> None:
    groups, of = grouped(pd.DataFrame({"label": ["cat", None, ""]}), "label")
    assert [group.name for group in groups] == ["cat", "no label"]
    assert of.tolist() == [0, 1, 1]


def test_a_map_may_be_coloured_by_any_column() -> None:
    fields = data_of(page(table(), None, "map", "", by="writer"))["fields"]
    assert [field["title"] for field in fields] == ["writer", "label", "prediction", "confidence", "correct", "id"]
    assert [field["searched"] for field in fields] == [True, True, False, False, False, True]
