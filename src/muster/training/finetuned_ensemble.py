"""Fine-tuned members with their head: an ensemble that predicts images of any size and opens in one call.

Axis names: ``s`` members, ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Num, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from muster.data import (
    ChannelStatistics,
    ImageSize,
    Preprocessing,
    Views,
    encode_text,
    map_views,
    prepare_views,
    view_for,
)
from muster.data.boxes import SCORE
from muster.data.spec import FIRST_TASK, RGB
from muster.errors import ConfigError
from muster.files import as_file_name, sha256_of
from muster.model_page import PAGE
from muster.models import ImageMap, SourceModel, TTASettings, Variant, rebuild
from muster.models.prediction import interpolated_rows
from muster.models.tensors import write_tensors
from muster.models.tta import PLAIN
from muster.output_kinds import ENSEMBLE
from muster.outputs import replaced
from muster.precision import Precision, autocast, resolve_precision
from muster.records import write_record
from muster.tasks.found_objects import suppress
from muster.tasks.task import TASKS, Task
from muster.training.ensemble_card import (
    CARD,
    FORMAT_VERSION,
    EnsembleCard,
    EnsembleError,
    folder_of,
    read_card,
)
from muster.training.results import HeadChoice
from muster.user_files import require_regular

HEAD = "head.safetensors"

PIXELS_AT_ONCE = 1 << 24
"""Interpolated probabilities are made for so many numbers at a time, so that a large image needs little memory."""


class EnsembleHead(nn.Module):
    """Per member and class one weight and one bias on the scores before softmax, then the mean of the probabilities.

    It starts as the plain mean: weight 1, bias 0. These are 2 S C parameters; A22 5.1 counts 144 to 2700, three times
    as many, without saying how.

    Attributes:
        weights: float32 ``[s, c]``.
        biases: float32 ``[s, c]``.
    """

    def __init__(self, members: int, num_classes: int) -> None:
        """Begin as the plain mean."""
        super().__init__()
        self.weights = nn.Parameter(torch.ones(members, num_classes))
        self.biases = nn.Parameter(torch.zeros(members, num_classes))

    def adjust(self, member: int, scores: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Scores of one member after its weights and biases."""
        return scores.float() * self.weights[member, :, None, None] + self.biases[member, :, None, None]


class Ensemble(nn.Module):
    """Fine-tuned members and their head.

    Attributes:
        names: Names of the members.
        classes: Label space.
        preprocessing: How images are shown to members without a preprocessing of their own.
        task: What it predicts.
        members: The models.
        head: Combines them.
        precision: What members compute in, as :meth:`muster.training.hardware.Hardware.resolved_precision` has it.
            Their scores come out in float32, and everything after that is float32.
        tta: In which ways an image is predicted; the mean of the probabilities counts.
        stored_size: Rows and columns of a usual training image as stored, if that is known: the scale at which members
            know things. Larger images are best predicted in tiles of this size.
        head_choice: How it was decided whether the learned head is kept; ``None`` where nobody had to decide.
    """

    def __init__(
        self,
        names: Sequence[str],
        members: Sequence[SourceModel],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        task: Task | None = None,
    ) -> None:
        """Begin with the plain mean of the members."""
        super().__init__()
        self.names, self.classes = tuple(names), tuple(classes)
        self.preprocessing, self.task = preprocessing, task or TASKS[FIRST_TASK]
        self.members = nn.ModuleList(members)
        self.head = EnsembleHead(len(self.names), len(self.classes))
        self.precision = "32-true"
        self.tta = TTASettings()
        self.stored_size: tuple[int, int] | None = None
        self.head_choice: HeadChoice | None = None

    @property
    def models(self) -> dict[str, SourceModel]:
        """The members by their names."""
        return {name: cast("SourceModel", member) for name, member in zip(self.names, self.members, strict=True)}

    @property
    def owns(self) -> tuple[Preprocessing | None, ...]:
        """The own preprocessing of each member, ``None`` for members without."""
        return tuple(model.preprocessing for model in self.models.values())

    def prepare(self, image: Num[Tensor, "b channels h w"]) -> Views:
        """Prepare stored images of one size as each member wants them.

        Args:
            image: uint8, RGB; on any device.

        Returns:
            What :meth:`forward` and :meth:`member_maps` take, on the device of the ensemble.
        """
        device = self.head.weights.device
        return map_views(prepare_views(image, self.preprocessing, self.owns), lambda view: view.to(device))

    def of_one(self, name: str, model: SourceModel, shown: Preprocessing | None = None) -> Ensemble:
        """A single network as an ensemble for the same target, where and as this one computes.

        Args:
            name: What to call it.
            model: The network.
            shown: How images are shown to it; by default as to the members of this one.

        Returns:
            In evaluation mode, with a head that changes nothing.
        """
        made = Ensemble((name,), (model,), self.classes, shown or self.preprocessing, self.task)
        made.precision, made.stored_size = self.precision, self.stored_size
        return made.to(self.head.weights.device).eval()

    @torch.no_grad()
    def member_maps(self, images: Views, variant: Variant = PLAIN) -> list[ImageMap]:
        """Scores of each member at its own resolution, before head and softmax.

        Args:
            images: Prepared images.
            variant: How they are shown.
        """
        with autocast(self.precision, self.head.weights.device):
            return [variant.map_of(model, view_for(images, model.preprocessing)) for model in self.models.values()]

    @torch.no_grad()
    def forward(self, images: Views, size: tuple[int, int]) -> Float[Tensor, "b c height width"]:
        """Probabilities of the ensemble for prepared images, at any size.

        Args:
            images: Prepared images, as each member wants them.
            size: Wanted rows and columns.

        Returns:
            Mean over the members of their probabilities with the learned head, and over the variants of the image.
        """
        variants = self.tta.variants
        total = torch.zeros(())
        for variant in variants:
            total = total + self.combine(self.member_maps(images, variant), size)
        return total / len(variants)

    @torch.no_grad()
    def combine(self, maps: Sequence[ImageMap], size: tuple[int, int]) -> Tensor:
        """Like :meth:`forward` of one variant, from what :meth:`member_maps` gave."""
        total = torch.zeros(())
        for index, (scores, part) in enumerate(maps):
            total = total + self.task.predictions(self._adjusted(index, scores), size, part)
        return total / len(maps)

    def _adjusted(self, member: int, scores: Tensor) -> Tensor:
        """Scores with the head; those of objects have none, see :attr:`muster.tasks.task.Task.finds_objects`."""
        return scores.float() if self.task.finds_objects else self.head.adjust(member, scores)

    @torch.no_grad()
    def probability_maps(self, images: Views) -> Iterator[ImageMap]:
        """Probabilities of each member at its own resolution, with the head; their mean is what the ensemble says.

        Args:
            images: Prepared images, as each member wants them.

        Yields:
            One for each member and each way in which images are shown.
        """
        for variant in self.tta.variants:
            for index, (scores, part) in enumerate(self.member_maps(images, variant)):
                yield ImageMap(self.task.activate(self._adjusted(index, scores)), part)

    @property
    def is_pooled(self) -> bool:
        """Whether it has one prediction for a whole image."""
        return self.task.is_pooled

    @torch.no_grad()
    def classify(self, image: Num[Tensor, "channels h w"] | str) -> Float[Tensor, " classes"]:
        """Probabilities of the classes of one image of any size, by an ensemble that classifies whole images, or texts.

        Args:
            image: As for :meth:`predict`; or a text, as it is or as :func:`muster.data.encode_text` gives it.

        Returns:
            float32, on the CPU.

        Raises:
            ValueError: If the image is of another kind or shape, or the ensemble has a class for every pixel.
        """
        if not self.is_pooled:
            raise ValueError("Expected an ensemble for classification, but this one segments images; use predict.")
        shown = encode_text(image) if isinstance(image, str) and self.preprocessing.of_text is not None else image
        shown = self._require_image(shown)
        probabilities: Tensor = self(self.prepare(shown[None]), (1, 1))[0, :, 0, 0]
        return probabilities.float().cpu()

    @torch.no_grad()
    def find(self, image: Num[Tensor, "channels h w"], nms: float | None = None) -> Float[Tensor, "n columns"]:
        """The objects in one image of any size, by a model that finds objects.

        Args:
            image: As for :meth:`predict`.
            nms: The largest overlap (IoU) that two boxes of a class may have; the less sure one is left out. ``None``
                leaves all.

        Returns:
            float32, on the CPU, the surest first: left, top, right, bottom in pixels of the image, score, class; and
            across and down of each point where objects have points.

        Raises:
            ValueError: If the image is of another kind or shape, or the ensemble finds no objects.
        """
        if not self.task.finds_objects:
            raise ValueError(f"Expected a model that finds objects, but this one is for {self.task.name}.")
        self._require_image(image)
        found = self(self.prepare(image[None]), (image.shape[1], image.shape[2]))[0, :, :, 0].float().cpu()
        found = found[:, found[SCORE] > 0]
        return (found if nms is None else suppress(found, nms)).T

    @torch.no_grad()
    def predict(self, image: Num[Tensor, "channels h w"]) -> UInt8[Tensor, "h w"]:
        """Classes of one image of any size, whatever memory the classes times its pixels would take.

        Args:
            image: RGB, 0 to 255, as stored; with as many channels as the members were fine-tuned on, and float32 in
                0..1 for images of more than 8 bits.

        Returns:
            Class indices, of the image's size, on the CPU.

        Raises:
            ValueError: If the image is of another kind or shape, or the ensemble classifies whole images.
        """
        if self.is_pooled or self.task.finds_objects:
            told = f"classifies {self.task.holds}; use classify" if self.is_pooled else "finds objects; use find"
            raise ValueError(f"Expected an ensemble for segmentation, but this one {told}.")
        self._require_image(image)
        prepared = self.prepare(image[None])
        maps = list(self.probability_maps(prepared))
        height, width = image.shape[1:]
        strip = max(1, PIXELS_AT_ONCE // (width * len(self.classes)))
        labels = torch.empty(height, width, dtype=torch.uint8)
        for start in range(0, height, strip):
            rows = range(start, min(start + strip, height))
            total = torch.stack([interpolated_rows(each, rows, height, width) for each in maps]).sum(dim=0)
            labels[rows.start : rows.stop] = total.argmax(dim=0).to(torch.uint8).cpu()
        return labels

    def _require_image(self, image: object) -> Tensor:
        channels = len(self.preprocessing.statistics.mean)
        if self.preprocessing.of_text is not None:
            return _require_text(image)
        kinds = {torch.uint8} if channels == RGB else {torch.uint8, torch.float32}
        if not isinstance(image, Tensor) or image.dtype not in kinds or image.ndim != 3 or image.shape[0] != channels:
            shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
            came = type(image).__name__ if shape is None else f"{tuple(shape)} of {dtype}"
            raise ValueError(
                f"Expected image as a torch uint8 tensor [{channels}, height, width], but got {came}. "
                "muster.data.read_image(path) reads a file so; torch.from_numpy(array).permute(2, 0, 1) turns an array."
            )
        return image

    def save(
        self, folder: Path, target: str, versions: dict[str, str], licences: Mapping[str, str] | None = None
    ) -> None:
        """Write the ensemble to a folder of its own, whole or not at all.

        Args:
            folder: Where.
            target: Name of the dataset that it was fine-tuned for.
            versions: Software it was made with.
            licences: Terms of the data and weights that it is made from, by what they are of.

        Raises:
            EnsembleError: If the folder holds something else, which would be lost, or another process is at work there.
            OutputError: If it cannot be written.
        """
        with replaced(folder, ENSEMBLE, EnsembleError) as partial:
            members = list(self.models.values())
            for file, member in zip(_files(self.names), members, strict=True):
                write_tensors(member, partial / file)
            write_tensors(self.head, partial / HEAD)
            files = sorted(path.name for path in partial.glob("*.safetensors"))
            card = EnsembleCard(
                target=target,
                classes=self.classes,
                mean=self.preprocessing.statistics.mean,
                std=self.preprocessing.statistics.std,
                image_size=self.preprocessing.known_size.setting,
                members=self.names,
                architectures=tuple(member.architecture for member in members),
                checksums={name: sha256_of(partial / name) for name in files},
                versions=versions,
                preprocessings=self.owns if any(self.owns) else (),
                blueprints=tuple(member.blueprint for member in members),
                tta=self.tta,
                licences=dict(licences or {}),
                stored_size=self.stored_size,
                task=self.task.name,
                head_choice=self.head_choice,
            )
            write_record(partial / CARD, card, FORMAT_VERSION)
            (partial / PAGE).write_text(card.page(), "utf-8")


def _require_text(text: object) -> Tensor:
    if not isinstance(text, Tensor) or text.dtype != torch.int32 or text.ndim != 3 or text.shape[:2] != (1, 1):
        raise ValueError(
            "Expected a text, as a string or as muster.data.encode_text(string) gives it, but got "
            f"{tuple(text.shape) if isinstance(text, Tensor) else type(text).__name__}."
        )
    return text


def load_ensemble(path: Path | str, device: torch.device | str = "cpu", precision: Precision = "auto") -> Ensemble:
    """Open a fine-tuned ensemble.

    Args:
        path: What finetune.py wrote: the folder of the run, or the folder ``ensemble`` in it.
        device: Where to put it.
        precision: What its members compute in; ``auto`` is what training takes on such a device.

    Returns:
        The ensemble in evaluation mode; see :meth:`Ensemble.predict`.

    Raises:
        EnsembleError: If a file is missing, damaged, or does not have the checksum on the card.

    Example:
        ``mask = muster.load_ensemble("runs/finetunings/camvid-small_real").predict(image)``
    """
    folder = folder_of(Path(path))
    card = read_card(folder)
    try:
        models = [rebuild(blueprint, len(card.classes)) for blueprint in card.built_by]
        preprocessing = Preprocessing(ChannelStatistics(card.mean, card.std), ImageSize.of(card.image_size))
    except ConfigError as error:
        raise EnsembleError(f"{folder / CARD}: {error}") from error
    for model, own in zip(models, card.preprocessings or [None] * len(models), strict=True):
        model.preprocessing = own
    ensemble = Ensemble(card.members, models, card.classes, preprocessing, TASKS[card.known_task])
    for file, module in [*zip(_files(card.members), models, strict=True), (HEAD, ensemble.head)]:
        _load(module, folder / file, card)
    ensemble.precision = resolve_precision(precision, torch.device(device))
    ensemble.tta, ensemble.stored_size, ensemble.head_choice = card.tta, card.stored_size, card.head_choice
    return ensemble.to(device).eval()


def _files(names: Sequence[str]) -> list[str]:
    """A file for each member; the number keeps them apart whatever their names are."""
    return [f"member_{index}_{as_file_name(name)}.safetensors" for index, name in enumerate(names)]


def _load(module: nn.Module, path: Path, card: EnsembleCard) -> None:
    try:
        require_regular(path)
        tensors = load_file(path)
        if sha256_of(path) != card.checksums.get(path.name):
            raise EnsembleError(f"{path} does not match its card: it was damaged or exchanged. Fine-tune again.")
        module.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise EnsembleError(f"{path} cannot be read: {error}") from error
