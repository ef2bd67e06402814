"""Self-supervised weights of the backbone that were converted, or pre-trained here."""

from __future__ import annotations

from pathlib import Path

from muster.errors import PretrainingError
from muster.models.family import Family
from muster.models.pretraining.file import WeightsFile
from muster.models.pretraining.local import SUFFIX, weights_folder
from muster.models.pretraining.scheme import SCHEMES, Scheme, StartedBody


class SimCLRWeights(Scheme):
    """``simclr``: a file of that name in the folder of converted weights; no hub is known to have it."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return ("simclr",)

    def file(self, family: Family, architecture: str, pretraining: str) -> Path:  # noqa: ARG002 (one name)
        """See :meth:`Scheme.file`."""
        name = family.backbone(architecture) or architecture
        path = weights_folder() / f"{name}-simclr{SUFFIX}"
        if path.is_file():
            return path
        raise PretrainingError(
            f"There are no SimCLR weights for {name!r} on this machine ({path}). Make them of images without labels "
            f"(muster pretrain), convert published ones (muster weights convert --output {path}), or name a file "
            "(weights: in a plan, or its path as pretraining)."
        )

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:
        """See :meth:`Scheme.build_body`."""
        path = self.file(family, architecture, pretraining)
        return WeightsFile().build_body(family, architecture, str(path))


SCHEMES.add("simclr", SimCLRWeights())
