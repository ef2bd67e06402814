"""``muster predict``: a file, a folder or a list in; masks, and on request maps of other things, out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin

from muster.commands.main import main
from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.models import build_model
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from muster.training.tiles import WholeImage, predict_strips

CLASSES = ("ground", "wall, of brick", "sky")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of one untrained member that knows the size of its training images."""
    member = build_model("small_unet", 3)
    with torch.no_grad():
        member.head.weight *= 20
    shown = Preprocessing(ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), ImageSize(longer=64))
    made = Ensemble(("a",), [member], CLASSES, shown)
    made.stored_size = (48, 64)
    folder = tmp_path_factory.mktemp("run")
    made.save(folder / "ensemble", "tiny", {})
    return folder


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:  # type: ignore[type-arg]
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return np.array(smooth.resize((150, 90)))


def predict(run: Path, images: Path, output: Path, *more: str) -> int:
    words = ["--ensemble", str(run), "--hardware.device", "cpu", "--output", str(output), *more]
    return main(["predict", str(images), *words])


def test_maps_on_request(
    run: Path,
    pixels: np.ndarray,  # type: ignore[type-arg]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(pixels).save(tmp_path / "größer.png")
    asked = ["--probabilities", "true", "--confidence", "true", "--uncertainty", "true", "--overlays", "false"]
    assert predict(run, tmp_path / "größer.png", tmp_path / "out", *asked) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Members see each image at 64 pixels, longer side." in printed
    assert "1 of them in overlapping tiles of 64 pixels" in printed
    assert not (tmp_path / "out" / "overlays").exists()
    probabilities = np.load(tmp_path / "out" / "probabilities" / "größer.npy")
    assert (probabilities.dtype, probabilities.shape) == (np.float16, (3, 90, 150))
    source = WholeImage(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    wanted = torch.cat([s.probabilities for s in predict_strips(load_ensemble(run), source, (48, 64))], dim=1).numpy()
    assert np.abs(probabilities - wanted).max() < 1e-3
    read = {part: np.array(Image.open(tmp_path / "out" / part / "größer.png")) for part in ("masks", "confidence")}
    assert np.array_equal(read["masks"], wanted.argmax(axis=0))
    assert np.abs(read["confidence"] - 255 * wanted.max(axis=0)).max() <= 0.51
    entropy = -(wanted * np.log(np.clip(wanted, 1e-12, 1))).sum(axis=0) / np.log(3)
    uncertainty = np.array(Image.open(tmp_path / "out" / "uncertainty" / "größer.png"))
    assert np.abs(uncertainty - 255 * entropy).max() <= 0.51


def test_a_list_of_files_and_a_legend_below_the_overlay(
    run: Path,
    pixels: np.ndarray,  # type: ignore[type-arg]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name[0]).mkdir()
        Image.fromarray(pixels).save(tmp_path / name[0] / name)
    listed = tmp_path / "list.txt"
    listed.write_text(f"a/a.png\n\n{tmp_path / 'b' / 'b.png'}\nmissing.png\n", "utf-8")
    assert predict(run, listed, tmp_path / "out", "--tile", "0") == 1
    assert "missing.png is missing" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in sorted((tmp_path / "out" / "masks").iterdir())] == ["a.png", "b.png"]
    with Image.open(tmp_path / "out" / "overlays" / "a.jpg") as overlay:
        assert overlay.width == 150
        assert overlay.height > 90 + 11
    listed.write_text("a/a.png\nb/a.png\n", "utf-8")
    assert predict(run, listed, tmp_path / "other") == 2
    assert "would be called alike" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "notes.pdf").write_text("")
    assert predict(run, tmp_path / "notes.pdf", tmp_path / "other") == 2
    assert "neither an image" in " ".join(capsys.readouterr().err.split())


def test_a_geotiff_gives_geotiffs_at_the_same_place(
    run: Path,
    pixels: np.ndarray,  # type: ignore[type-arg]
    tmp_path: Path,
) -> None:
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5)}
    with rasterio.open(
        tmp_path / "field.tif", "w", driver="GTiff", height=90, width=150, count=3, dtype="uint8", **place
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    for name in ("field.tif", "plain.png"):
        assert predict(run, tmp_path / name, tmp_path / f"out-{name}", "--confidence", "true") == 0
    for part in ("masks", "confidence"):
        with rasterio.open(tmp_path / "out-field.tif" / part / "field.tif") as written:
            assert written.crs == place["crs"]
            assert written.transform == place["transform"]
            plain = np.array(Image.open(tmp_path / "out-plain.png" / part / "plain.png"))
            assert np.array_equal(written.read(1), plain)
            assert len(written.colormap(1)) == 256


def test_bands_that_would_be_left_out_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5)}
    with rasterio.open(
        tmp_path / "x.tif", "w", driver="GTiff", height=40, width=50, count=5, dtype="uint16", **place
    ) as file:
        file.write(np.zeros((5, 40, 50), dtype=np.uint16))
    assert predict(run, tmp_path / "x.tif", tmp_path / "out") == 1
    assert "rite the bands that are meant" in " ".join(capsys.readouterr().out.split())


def test_an_ensemble_for_other_channels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What commands read is RGB; an ensemble for four bands got as far as a message about the sizes of tensors."""
    member = build_model("small_unet", 3)
    member.adapt_channels(4)
    shown = Preprocessing(ChannelStatistics((0.4, 0.5, 0.6, 0.5), (0.2, 0.25, 0.3, 0.2)), ImageSize(longer=64))
    Ensemble(("a",), [member], CLASSES, shown).save(tmp_path / "run" / "ensemble", "fields", {})
    Image.new("RGB", (50, 40)).save(tmp_path / "x.png")
    assert predict(tmp_path / "run", tmp_path / "x.png", tmp_path / "out") == 2
    assert main(["export", str(tmp_path / "run")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("for fields was fine-tuned on images of 4 channel(s)") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "x.png"]
