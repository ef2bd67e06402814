"""Exported ensembles: files that do what the ensemble does, for images of any number and size."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.layers import Conv2dSame
from torch import Tensor

from muster.commands.main import main
from muster.data import ChannelStatistics, prepare_image
from muster.data.preprocessing import ImageSize, Preprocessing
from muster.models import SOURCES, SourceModel, build_model
from muster.models.adoption import Adoption
from muster.models.segmenter import Segmenter
from muster.models.tta import TTASettings, Variant
from muster.training.export import FORMATS, ExportError, export_ensemble, exporting, graph
from muster.training.export.file_format import Segments
from muster.training.finetuned_ensemble import Ensemble
from tests.models import makers

STATISTICS = ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SHOWN = Preprocessing(STATISTICS, ImageSize(longer=96))
OWN = Preprocessing(STATISTICS, ImageSize(shorter=40), "bgr", "bicubic")
METADATA = {"muster.version": "0", "muster.classes": '["größer", "wall", "sky"]'}


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Two untrained networks whose predictions differ from place to place, and a head that is not the plain mean."""
    members = [build_model("small_unet", 3, seed=seed) for seed in (0, 1)]
    made = Ensemble(("a", "b"), members, ("größer", "wall", "sky"), SHOWN)
    with torch.no_grad():
        for member in members:
            member.head.weight *= 20
        made.head.weights.copy_(torch.rand(2, 3, generator=torch.Generator().manual_seed(0)) + 0.5)
        made.head.biases.copy_(torch.randn(2, 3, generator=torch.Generator().manual_seed(1)))
    members[1].preprocessing = OWN
    return made.eval()


@pytest.fixture(scope="module")
def run(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with the ensemble in it."""
    folder = tmp_path_factory.mktemp("run, größer")
    ensemble.save(folder / "ensemble", "tiny", {"muster": "0"}, {"data of tiny": "ours"})
    return folder


@pytest.fixture(scope="module", params=FORMATS.names())
def exported(request: pytest.FixtureRequest, run: Path) -> tuple[str, Path]:
    """A file of each format, made by the command."""
    name: str = request.param
    path = run / f"made{FORMATS[name].suffix}"
    assert main(["export", "--format", name, str(run), "--output", str(path)]) == 0
    return name, path


def make_images(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(count, 3, 4, 5, generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (fine + torch.randn(fine.shape, generator=generator) * 15).clamp(0, 255).to(torch.uint8)


def replaced_member(ensemble: Ensemble, network: SourceModel) -> Ensemble:
    """An ensemble of one network."""
    made = Ensemble(("odd",), [build_model("small_unet", 3)], ensemble.classes, SHOWN)
    made.members[0] = network
    network.preprocessing = None
    return made.eval()


@pytest.fixture(scope="module")
def segment(exported: tuple[str, Path]) -> Segments:
    """The same file, opened."""
    name, path = exported
    return FORMATS[name].open(path)


class TestFile:
    @pytest.mark.parametrize(("count", "height", "width"), [(1, 33, 250), (3, 96, 96), (2, 20, 16), (1, 1, 40)])
    def test_does_what_the_ensemble_does(
        self, segment: Segments, ensemble: Ensemble, count: int, height: int, width: int
    ) -> None:
        images = make_images(count, height, width)
        probabilities, classes = segment(images)
        assert probabilities.shape == (count, 3, height, width)
        wanted = ensemble(ensemble.prepare(images), (height, width))
        assert torch.allclose(torch.from_numpy(probabilities), wanted, atol=1e-4)
        best, second = wanted.topk(2, dim=1).values.unbind(1)
        clear = best - second > 1e-4
        assert torch.equal(torch.from_numpy(classes)[clear].long(), wanted.argmax(dim=1)[clear])
        if height > 1:
            assert clear.float().mean() > 0.99
            assert len(wanted.argmax(dim=1).unique()) > 1

    def test_says_what_it_is(self, exported: tuple[str, Path]) -> None:
        name, path = exported
        said = FORMATS[name].metadata(path)
        assert said["muster.classes"] == '["größer", "wall", "sky"]'
        assert said["muster.licences"] == '{"data of tiny": "ours"}'
        assert said["muster.colours"].startswith('["#0072b2"')
        assert said["muster.members"].startswith('[{"name": "a", "architecture": "small_unet"}')

    def test_knows_nothing_of_the_machine_it_was_made_on(self, exported: tuple[str, Path]) -> None:
        content = exported[1].read_bytes()
        assert str(Path(graph.__file__).parent).encode() not in content
        assert b"torch/nn" not in content

    def test_the_documented_script_segments_images_with_it(
        self,
        exported: tuple[str, Path],
        segment: Segments,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        name, path = exported
        if name != "onnx":
            pytest.skip("the script is for ONNX Runtime")
        script = Path(__file__).parents[2] / "docs" / "segment.py"
        assert sum(bool(line.strip()) for line in script.read_text("utf-8").splitlines()) <= 21
        images = make_images(1, 40, 70)
        Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
        monkeypatch.setattr("sys.argv", ["segment.py", str(path), str(tmp_path / "a.png")])
        runpy.run_path(str(script))
        with Image.open(tmp_path / "a.png.mask.png") as mask:
            assert np.array_equal(np.array(mask), segment(images)[1][0])
            assert mask.getpalette()[:3] == [0, 0x72, 0xB2]
        assert "a.png" in capsys.readouterr().out

    def test_an_older_export_is_replaced_and_nothing_else(
        self, exported: tuple[str, Path], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name, path = exported
        foreign, words = tmp_path / f"mine{path.suffix}", ["export", str(run), "--format", name, "--output"]
        foreign.write_text("not yours")
        assert main([*words, str(foreign)]) == 2
        assert "muster did not write it" in capsys.readouterr().err
        assert foreign.read_text() == "not yours"
        assert main([*words, str(run / "ensemble" / path.name)]) == 2
        assert "which holds nothing else" in capsys.readouterr().err
        assert main([*words, str(tmp_path / "model.bin")]) == 2
        assert f"to end in {path.suffix}" in capsys.readouterr().err


@pytest.mark.parametrize("tta", [TTASettings(), TTASettings(flip=True), TTASettings(True, (0.6, 1.4))])
def test_the_graph_is_the_ensemble(ensemble: Ensemble, tta: TTASettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "tta", tta)
    images = make_images(2, 70, 40)
    with torch.no_grad():
        probabilities, classes = graph.EnsembleGraph(ensemble)(images)
    assert torch.allclose(probabilities, ensemble(ensemble.prepare(images), (70, 40)), atol=1e-5)
    assert torch.equal(classes.long(), probabilities.argmax(dim=1))


def adopted_network(kind: str, folder: Path) -> SourceModel:
    """A network of another library, with a head of its own making for three classes."""
    said: dict[str, Any] = {"classes": ["a", "b", "c"], "mean": STATISTICS.mean, "std": STATISTICS.std}
    if kind == "smp":
        makers.save_smp_fpn(folder / "smp")
        entry = Adoption("x", "smp", str(folder / "smp"), **said)
    elif kind == "transformers":
        makers.save_segformer(folder / "segformer")
        entry = Adoption("x", "transformers", str(folder / "segformer"), **said)
    else:
        makers.save_plain(folder / "plain.safetensors", makers.ProductNetwork())
        weights = str(folder / "plain.safetensors")
        entry = Adoption("x", "python", "tests.models.makers:build_product", weights, layer="deep", **said)
    model = SOURCES[entry.source].adopt(entry).model
    model.replace_head(3, seed=0)
    return model


@pytest.mark.parametrize("kind", ["smp", "transformers", "python"])
def test_adopted_networks_are_exported(kind: str, tmp_path: Path) -> None:
    made = Ensemble(("a",), [adopted_network(kind, tmp_path)], ("a", "b", "c"), SHOWN).eval()
    done = export_ensemble(made, tmp_path / "made.pt2", "torch")
    assert done.agreement.holds


class TestRefusals:
    def test_a_file_that_does_not_agree_is_removed(
        self, ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "MOST_DIFFERENCE", -1.0)
        plain = replaced_member(ensemble, build_model("small_unet", 3).eval())
        with pytest.raises(ExportError, match="does not agree with the ensemble: probabilities differ by up to"):
            export_ensemble(plain, tmp_path / "new.pt2", "torch", fixed_size=(32, 32))
        assert list(tmp_path.iterdir()) == []

    def test_a_member_that_cannot_be_followed_is_named(
        self, ensemble: Ensemble, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        class Undecided(Segmenter):
            def score(self, features: Tensor) -> Tensor:
                scores = super().score(features)
                return scores if features.mean() > 0 else -scores

        odd = replaced_member(ensemble, Undecided("undecided", build_model("small_unet", 3).body, 3))
        with pytest.raises(ExportError, match=r"\(undecided\) cannot be written as torch\. .*--height ROWS"):
            export_ensemble(odd, tmp_path / "new.pt2", "torch")
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""

    def test_a_package_that_is_not_there(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(FORMATS["onnx"], "needs", ("onnx", "no_such_package"))
        assert main(["export", str(run)]) == 2
        assert 'no_such_package missing. Install with: pip install "muster[export]"' in capsys.readouterr().err

    def test_options_that_do_not_go_together(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["export", str(run), "--height", "64"]) == 2
        assert "--height and --width go together" in capsys.readouterr().err
        assert main(["export", str(run), "--format", "onx"]) == 2
        assert "Did you mean 'onnx'" in capsys.readouterr().err
        assert main(["export", str(run.parent)]) == 2
        assert "holds no fine-tuned ensemble. Give what finetune.py" in capsys.readouterr().err
        assert main(["export", str(run / "ensemble"), str(run)]) == 2
        assert "is not expected here" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1), (37, 1000), (1000, 37), (96, 96), (531, 800)])
@pytest.mark.parametrize("size", [ImageSize(longer=96), ImageSize(shorter=96), ImageSize(exact=(40, 50))])
def test_sizes_are_those_of_preprocessing(shape: tuple[int, int], size: ImageSize) -> None:
    assert graph.shown_size(size, *shape) == size.fit(*shape)


@pytest.mark.parametrize("own", [OWN, Preprocessing(STATISTICS, ImageSize(exact=(32, 64)), "rgb", "nearest"), SHOWN])
@pytest.mark.parametrize("variant", [Variant(), Variant(0.75, mirrored=True), Variant(1.5)])
def test_images_are_shown_as_they_are_to_the_ensemble(own: Preprocessing, variant: Variant) -> None:
    images = make_images(2, 70, 40)
    shown = graph._varied(graph._View(own)(images), variant)
    assert torch.allclose(shown, variant.of(prepare_image(images, own)), atol=1e-5)


@pytest.mark.parametrize("size", [(9, 8), (10, 13), (7, 7)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (1, 2, 1), (3, 1, 2), (4, 3, 1)])
def test_padding_of_tensorflow(size: tuple[int, int], kernel: int, stride: int, dilation: int) -> None:
    convolution = Conv2dSame(2, 3, kernel, stride, 0, dilation)
    maps = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(graph._SamePadding(convolution)(maps), convolution(maps))
