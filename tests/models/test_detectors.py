"""Detectors of torchvision as members, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from muster.errors import ConfigError
from muster.models import rebuild
from muster.models.adoption import Adoption
from muster.models.centre_net import CentreNet
from muster.models.model_source import SOURCES
from muster.models.pooled import pooled
from muster.tasks.detection import DETECTION


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_the_finest_map_of_a_detector_gets_heads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = get_model(name, weights=None, weights_backbone=None, num_classes=7).eval()
    path = tmp_path / "weights.safetensors"
    save_file({key: value for key, value in network.state_dict().items() if key.startswith("backbone.")}, path)
    adopted = SOURCES["torchvision"].adopt(Adoption("d", "torchvision", model=name, weights=str(path)))
    model, images = adopted.model, torch.randn(1, 3, 64, 96)
    assert (adopted.classes, model.num_classes) == ((), 0)
    with torch.no_grad():
        finest = next(iter(network.backbone(images).values()))
        assert torch.allclose(model.features(images), finest, atol=1e-5)
        assert pooled(model).read(images)[0].shape == (1, 0, 1, 1)
    fitted = DETECTION.fitted(model)
    assert isinstance(fitted, CentreNet)
    fitted.replace_head(3, seed=1)
    again = rebuild(fitted.blueprint, 3)
    again.load_state_dict(fitted.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images), fitted.eval()(images))
        assert fitted(images).shape == (1, 7, *finest.shape[-2:])
    other = Adoption("d", "torchvision", model="retinanet_resnet50_fpn", weights=str(path))
    with pytest.raises(ConfigError, match="do not fit"):
        SOURCES["torchvision"].adopt(other)
