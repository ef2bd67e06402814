"""A W&B workspace for muster's runs, defined in code: what was predicted beside what was reached, pool by pool."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from muster.extras import needs_extra
from muster.tracking.kinds import PROJECT

if TYPE_CHECKING:
    from wandb_workspaces import workspaces
    from wandb_workspaces.workspaces import Section

NAME = "muster"


def make_workspace(entity: str, project: str = PROJECT, pool: str = "", target: str = "") -> workspaces.Workspace:
    """Define a workspace; its ``save()`` sends it to W&B.

    Runs are grouped by pool and target, as :class:`muster.tracking.kinds.weights_and_biases.WeightsAndBiases` links
    them. Defining it needs no network and no login. How W&B shows it is not verified here: that needs its server.

    Args:
        entity: User or team at W&B.
        project: Where the runs are.
        pool: Show runs of this pool only; empty for all.
        target: Likewise the target.

    Returns:
        The definition.

    Raises:
        ConfigError: If wandb-workspaces is not installed.

    Example:
        ``make_workspace("my-team").save()``
    """
    ws = needs_extra("wandb_workspaces.workspaces", "workspaces")
    wanted = {"pool": pool, "target": target}
    settings = ws.RunsetSettings(
        filters=[ws.Config(key) == value for key, value in wanted.items() if value],
        groupby=[ws.Config("pool"), ws.Config("target"), ws.Config("job")],
        pinned_columns=["config:pool", "config:target", "summary:miou/ensemble", "summary:beyond B1"],
    )
    only = " ".join(value for value in wanted.values() if value)
    name = f"{NAME} {only}".strip()
    workspace: workspaces.Workspace = ws.Workspace(
        entity=entity, project=project, name=name, sections=_sections(), runset_settings=settings
    )
    return workspace


def _sections() -> list[Section]:
    from wandb_workspaces.workspaces import Section

    panels = import_module("wandb_workspaces.reports.v2")
    reached = "miou/ensemble"
    against = panels.ScatterPlot(
        title="predicted and reached", x=panels.SummaryMetric("predicted/soft_iou_eep"), y=panels.SummaryMetric(reached)
    )
    return [
        Section(
            name="Fine-tuned ensembles",
            is_open=True,
            panels=[
                panels.BarPlot(title="mIoU", metrics=[reached, "miou/plain mean", "miou/best member", "miou/B1"]),
                panels.BarPlot(title="mIoU beyond the best single model (B1)", metrics=["beyond B1"]),
                against,
            ],
        ),
        Section(
            name="Selections",
            panels=[
                panels.BarPlot(title="SoftIoU-EEP of the chosen", metrics=["predicted/soft_iou_eep"]),
                panels.BarPlot(title="margin to the next candidate", metrics=["selection/margin"]),
            ],
        ),
        Section(
            name="Members of pools",
            panels=[
                panels.BarPlot(title="source mIoU", metrics=["miou/source test", "miou/majority"]),
                panels.ScatterPlot(
                    title="size and source mIoU",
                    x=panels.SummaryMetric("parameters"),
                    y=panels.SummaryMetric("miou/source test"),
                ),
            ],
        ),
        Section(name="Curves", panels=[panels.LinePlot(title="training loss", metric_regex="loss/.*")]),
        Section(name="Images", panels=[panels.MediaBrowser(media_keys=["images", "confidence"])]),
    ]
