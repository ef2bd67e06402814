"""Every registered loss, alone and added to another, with class weights and label smoothing."""

from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss
from torch import Tensor
from torch.nn import functional

from muster.data import VOID
from muster.errors import ConfigError
from muster.tasks.loss import LossOptions, class_weights_of
from muster.tasks.segmentation import SEGMENTATION
from muster.training.idle_settings import idle_settings
from muster.training.settings import TrainingSettings

WEIGHTS = torch.tensor([0.5, 2.0, 0.25, 3.0])


@pytest.fixture
def scores() -> Tensor:
    return torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.fixture
def masks() -> Tensor:
    """Two of four classes at most occur; a third of the pixels is void."""
    masks = torch.randint(0, 3, (2, 20, 28), generator=torch.Generator().manual_seed(1))
    masks[:, :7] = VOID
    return masks


def upsampled(scores: Tensor) -> Tensor:
    return functional.interpolate(scores, size=(20, 28), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", SEGMENTATION.losses)  # of several classes for one image: tests/tasks
class TestEvery:
    def test_is_nothing_without_a_label(self, name: str, scores: Tensor, masks: Tensor) -> None:
        loss = SEGMENTATION.loss(scores, torch.full_like(masks, VOID), name)
        loss.backward()
        assert loss.item() == 0
        assert scores.grad is not None
        assert torch.equal(scores.grad, torch.zeros_like(scores))

    def test_does_not_look_at_void(self, name: str, scores: Tensor, masks: Tensor) -> None:
        at_size = upsampled(scores.detach())
        changed = torch.where((masks == VOID)[:, None], at_size + 5, at_size)
        assert not torch.equal(changed, at_size)
        assert SEGMENTATION.loss(changed, masks, name) == SEGMENTATION.loss(at_size, masks, name)

    def test_is_least_where_the_truth_is_likeliest(self, name: str, masks: Tensor) -> None:
        truth = functional.one_hot(masks.clamp(max=3), 4).movedim(-1, 1).float()
        right, wrong = (SEGMENTATION.loss(sign * 8 * truth, masks, name).item() for sign in (1, -1))
        assert 0 <= right < 0.2 < wrong

    def test_can_be_added_to_another(self, name: str, scores: Tensor, masks: Tensor) -> None:
        first = "scores" if name != "scores" else "probabilities"
        both = SEGMENTATION.loss(scores, masks, first, added=name, added_weight=0.3)
        alone = SEGMENTATION.loss(scores, masks, first) + 0.3 * SEGMENTATION.loss(scores, masks, name)
        assert both.item() == pytest.approx(alone.item(), rel=1e-6)
        assert TrainingSettings(loss=first, added_loss=name).added_loss == name

    def test_of_half_precision_is_computed_in_float32(self, name: str, scores: Tensor, masks: Tensor) -> None:
        assert SEGMENTATION.loss(scores.bfloat16(), masks, name).dtype == torch.float32


def test_dice_and_focal_are_those_of_smp(scores: Tensor, masks: Tensor) -> None:
    dice = DiceLoss("multiclass", ignore_index=VOID)(upsampled(scores), masks)
    assert SEGMENTATION.loss(scores, masks, "dice").item() == pytest.approx(dice.item(), rel=1e-5)
    focal = FocalLoss("multiclass", ignore_index=VOID)(upsampled(scores), masks)
    assert SEGMENTATION.loss(scores, masks, "focal").item() == pytest.approx(focal.item(), rel=1e-5)


def test_dice_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.8]]).log().view(1, 2, 1, 2)  # a pixel of each class
    loss = SEGMENTATION.loss(scores, torch.tensor([[[0, 1]]]), "dice")
    assert loss.item() == pytest.approx(1 - (2 * 0.9 / (1.1 + 1) + 2 * 0.8 / (0.9 + 1)) / 2, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_class_weights_and_smoothing_are_those_of_torch(
    smoothing: float, weights: Tensor | None, scores: Tensor, masks: Tensor
) -> None:
    options = LossOptions(weights, smoothing)
    expected = functional.cross_entropy(upsampled(scores), masks, weights, ignore_index=VOID, label_smoothing=smoothing)
    assert SEGMENTATION.loss(scores, masks, "scores", options).item() == pytest.approx(expected.item(), rel=1e-5)
    # Softmax of logarithms of probabilities is these probabilities, so torch's loss of them is ours of probabilities.
    logarithms = upsampled(scores.softmax(dim=1)).log()
    expected = functional.cross_entropy(logarithms, masks, weights, ignore_index=VOID, label_smoothing=smoothing)
    loss = SEGMENTATION.loss(scores, masks, "probabilities", options)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_follow_the_shares_and_average_1_over_the_pixels() -> None:
    counts = torch.tensor([800, 200, 0])
    assert class_weights_of(counts, "none") is None
    inverse, root = class_weights_of(counts, "inverse"), class_weights_of(counts, "sqrt")
    assert inverse is not None
    assert root is not None
    assert inverse.tolist() == pytest.approx([0.5 / 0.8, 0.5 / 0.2, 0])
    assert (root[1] / root[0]).item() == pytest.approx(2)
    assert (0.8 * root[0] + 0.2 * root[1]).item() == pytest.approx(1)


def test_a_loss_that_is_not_known_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^loss: .*'dicee'.*dice"):
        TrainingSettings(loss="dicee")
    with pytest.raises(ConfigError, match=r"^added_loss: .*'foca'.*focal"):
        TrainingSettings(added_loss="foca")
    with pytest.raises(ConfigError, match=r"^added_loss: expected another one than loss"):
        TrainingSettings(loss="dice", added_loss="dice")


def test_options_of_cross_entropies_have_no_effect_on_the_others() -> None:
    idle = idle_settings(TrainingSettings(loss="dice"))
    assert {"training.label_smoothing", "training.class_weighting", "training.added_loss_weight"} <= set(idle)
    assert "training.label_smoothing" not in idle_settings(TrainingSettings())
