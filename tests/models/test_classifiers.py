"""Image classifiers of other libraries beside the libraries themselves: names, images, predictions, features."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from muster.data import ImageSize, prepare_image
from muster.errors import ConfigError
from muster.models import SOURCES, SourceModel, rebuild
from muster.models.adoption import Adopted, Adoption
from muster.models.pooled import Pooled
from muster.models.prediction import probabilities_of
from tests.models import classifier_makers as makers
from tests.models.test_sources import require_interface

BUILDERS = "classifier_makers_for_sources"
CLASSES = ("cat", "dog", "owl", "fox")
STATISTICS: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    sys.modules[BUILDERS] = makers
    yield
    del sys.modules[BUILDERS]


def adopted(source: str, **said: Any) -> Adopted:
    return SOURCES[source].adopt(Adoption("x", source, **said))


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(1, 3, 6, 7, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].to(torch.uint8)


@torch.no_grad()
def require_same(found: Adopted, stored: Tensor, prepared: Tensor, network: nn.Module, tolerance: float) -> None:
    """The library's own way from a stored image to probabilities is ours."""
    model = found.model
    assert isinstance(model, Pooled)
    assert found.classes == CLASSES
    assert model.preprocessing is not None
    ours = prepare_image(stored, model.preprocessing)[None]
    assert ours.shape == prepared.shape
    torch.testing.assert_close(ours, prepared, rtol=0, atol=tolerance)
    output: Any = network(prepared)
    theirs = (output if isinstance(output, Tensor) else output.logits).softmax(dim=1)
    if tolerance < 1e-4:
        torch.testing.assert_close(model.predict(ours)[:, :, 0, 0], theirs, rtol=0, atol=1e-5)
        assert theirs.max() - theirs.min() > 0.05
    torch.testing.assert_close(model.predict(prepared)[:, :, 0, 0], theirs, rtol=0, atol=1e-5)
    features = model.features(prepared)
    assert features.shape == (1, model.feature_channels, 1, 1)
    torch.testing.assert_close(model.score(features), model(prepared))
    assert len(model.features_and_embeddings(prepared)[1]) > 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timm_folders_give_what_timm_gives(tmp_path: Path, name: str) -> None:
    network = makers.save_timm(tmp_path, name)
    found = adopted("timm", model=str(tmp_path))
    config = timm.data.resolve_data_config({}, pretrained_cfg=network.pretrained_cfg)  # type: ignore[arg-type]
    own = timm.data.create_transform(**config)  # type: ignore[arg-type]
    side = found.model.preprocessing.size.resized(9, 9)[0]  # type: ignore[union-attr]
    for size, tolerance in (((side, side + 41), 1e-6), ((300, 251), 0.05)):
        stored = picture(*size)
        seen: Any = own(Image.fromarray(stored.permute(1, 2, 0).numpy()))  # type: ignore[operator]
        require_same(found, stored, seen[None], network, tolerance)
    require_interface(found.model, torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(3)))


@torch.no_grad()
def test_timm_takes_an_architecture_with_a_file_and_names_classes_that_are_known(tmp_path: Path) -> None:
    network = makers.save_timm(tmp_path, "test_convnext")
    file = tmp_path / "model.safetensors"
    found = adopted("timm", architecture="test_convnext", weights=str(file), classes=CLASSES)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(found.model(images)[:, :, 0, 0], network(images))
    makers.without_label_names(tmp_path)
    with pytest.raises(ConfigError, match="classes: the model has 4 and does not say what they are"):
        adopted("timm", model=str(tmp_path))
    with pytest.raises(ConfigError, match="Did you mean 'test_convnext'"):
        adopted("timm", architecture="test_convnex", weights=str(file))
    facts = SOURCES["timm"].facts_of(timm.create_model("test_resnet"))
    assert facts is not None
    assert len(set(facts.classes)) == 1000
    assert facts.classes[0] == "tench, Tinca tinca"


@torch.no_grad()
def test_torchvision_classifiers(tmp_path: Path) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights

    network = makers.save_torchvision_classifier(tmp_path / "w.pth")
    said: dict[str, Any] = {"model": "shufflenet_v2_x0_5", "weights": str(tmp_path / "w.pth")}
    found = adopted("torchvision", classes=CLASSES, **said)
    own = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.transforms()
    for size, tolerance in (((256, 301), 1e-6), ((400, 333), 0.05)):
        stored = picture(*size)
        seen = own(Image.fromarray(stored.permute(1, 2, 0).numpy()))[None]
        require_same(found, stored, seen, network, tolerance)
    require_interface(found.model, torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(ConfigError, match="classes: the model has 4"):
        adopted("torchvision", **said)
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"they hold no 'fc\.bias'"):
        adopted("torchvision", model="shufflenet_v2_x0_5", weights=str(tmp_path / "other.pth"), classes=CLASSES)


@torch.no_grad()
def test_a_file_that_is_called_as_torchvision_calls_it_has_its_classes(tmp_path: Path) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, get_model

    weights = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    file = tmp_path / Path(weights.url).name
    torch.save(get_model("shufflenet_v2_x0_5").state_dict(), file)
    found = adopted("torchvision", model="shufflenet_v2_x0_5", weights=str(file))
    assert found.classes == tuple(weights.meta["categories"])


@torch.no_grad()
@pytest.mark.parametrize(
    ("save", "exact"), [(makers.save_vit, (48, 48)), (makers.save_resnet, (64, 92))], ids=["vit", "resnet"]
)
def test_transformers_gives_what_its_own_processing_gives(
    tmp_path: Path, save: Callable[[Path], Any], exact: tuple[int, int]
) -> None:
    import transformers

    network = save(tmp_path)
    found = adopted("transformers", model=str(tmp_path))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    for size, tolerance in ((exact, 1e-5), ((90, 70), 0.05)):
        stored = picture(*size)
        seen = processor(images=stored, return_tensors="pt")["pixel_values"]
        require_same(found, stored, seen, network, tolerance)
    side = found.model.preprocessing.size.of_a_square  # type: ignore[union-attr]
    require_interface(found.model, torch.randn(2, 3, *side, generator=torch.Generator().manual_seed(3)))


def test_a_network_that_takes_one_size_is_given_no_other(tmp_path: Path) -> None:
    makers.save_vit(tmp_path)
    with pytest.raises(ConfigError, match="image_size: the network takes no images of 64 x 64 pixels"):
        adopted("transformers", model=str(tmp_path), image_size="64x64")


@pytest.mark.parametrize(
    "said",
    [
        ("BeitImageProcessor", {"size": {"height": 64, "width": 64}, "crop_size": {"height": 48, "width": 48}}),
        ("EfficientNetImageProcessor", {"size": {"height": 48, "width": 48}, "rescale_offset": True,
                                        "rescale_factor": 1 / 127.5, "do_center_crop": False}),
        ("LevitImageProcessor", {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}),
        ("MobileViTImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": {"height": 48, "width": 48}}),
    ],
    ids=lambda said: said[0],
)  # fmt: skip
def test_image_processors_are_understood(tmp_path: Path, said: tuple[str, dict[str, Any]]) -> None:
    import transformers

    from muster.models.image_processing import image_processing

    kind, options = said
    getattr(transformers, kind)(do_resize=True, **{"do_center_crop": True, **options}).save_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    ours = image_processing(tmp_path, is_whole=True)
    assert ours is not None
    stored = picture(120, 101)
    seen = processor(images=stored, return_tensors="pt")["pixel_values"][0]
    mine = prepare_image(stored, ours)
    assert mine.shape == seen.shape
    torch.testing.assert_close(mine, seen, rtol=0, atol=0.06)


@torch.no_grad()
@pytest.mark.parametrize("kind", [makers.PlainClassifier, makers.AveragedClassifier])
def test_any_module_with_a_score_for_each_class(kind: Callable[[], nn.Module], tmp_path: Path) -> None:
    network = makers.lively(kind())
    setattr(makers, "build_this", lambda: makers.lively(kind()))  # noqa: B010
    torch.save(network.state_dict(), tmp_path / "w.pth")
    said: dict[str, Any] = {"model": f"{BUILDERS}:build_this", "weights": str(tmp_path / "w.pth")}
    found = adopted("python", classes=CLASSES, **said, **STATISTICS)
    images = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(found.model(images)[:, :, 0, 0], network(images))
    assert found.model.features(images).shape == (2, 12, 1, 1)
    require_interface(found.model, images)


@torch.no_grad()
def test_scores_that_are_more_than_linear_need_a_layer(tmp_path: Path) -> None:
    import transformers

    config = transformers.DeiTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=48, patch_size=8,
        id2label=makers.NAMES, num_labels=4,
    )  # fmt: skip
    network: Any = makers.lively(transformers.DeiTForImageClassificationWithTeacher(config))
    network.save_pretrained(tmp_path)
    said: dict[str, Any] = {"model": str(tmp_path), "image_size": "48x48", **STATISTICS}
    with pytest.raises(ConfigError, match=r"(?s)cannot be run|not the output of one convolution or linear layer"):
        adopted("transformers", **said)


def test_a_crop_is_the_middle_of_the_resized_image() -> None:
    size = ImageSize.of("shorter:10/8x6")
    assert (size.shorter, size.crop, size.setting, size.fit(20, 33), size.resized(20, 33)) == (
        10, (8, 6), "shorter:10/8x6", (8, 6), (10, 16),
    )  # fmt: skip
    for wrong in ("10x10/11x4", "shorter:5/6x5", "12/3x3"):
        with pytest.raises(ConfigError, match="image_size"):
            ImageSize.of(wrong)


def test_the_middle_is_where_torchvision_has_it() -> None:
    from torchvision.transforms.functional import center_crop

    from muster.data.preprocessing import middle

    for side in range(4, 12):
        line = torch.arange(side)[None, None].expand(1, 4, side)
        for cut in range(1, side):
            assert int(center_crop(line, [4, cut])[0, 0, 0]) == middle(side, cut)


def test_blueprints_are_plain_values(tmp_path: Path) -> None:
    from muster.files import to_builtin_types

    makers.save_timm(tmp_path)
    model: SourceModel = adopted("timm", model=str(tmp_path)).model
    assert model.blueprint.library == "timm"
    assert to_builtin_types(model.blueprint.config) == model.blueprint.config
    again = rebuild(model.blueprint, 4)
    again.load_state_dict(model.state_dict())
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64))).float()
    torch.testing.assert_close(probabilities_of(again.eval()(image)), model.predict(image))
