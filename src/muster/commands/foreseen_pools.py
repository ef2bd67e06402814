"""The members of pools that a dry run is about: trained ones, or those of the configs that train them."""

from __future__ import annotations

from pathlib import Path

from muster.commands.cli import build_parser
from muster.commands.main import COMMANDS, CONFIGS
from muster.errors import PoolError
from muster.pool import MEMBERS, Pool
from muster.study.forecast import KnownMember, KnownPools
from muster.study.settings import StudySettings
from muster.training.planned_source import foresee_source
from muster.training.pool_plan import spell_out
from muster.user_files import read_yaml_file


def known_pools(settings: StudySettings, data_root: Path | None) -> tuple[KnownPools, dict[Path, Path]]:
    """The members that a study is about.

    Args:
        settings: Name its pools.
        data_root: Folder below which datasets of plans are looked for.

    Returns:
        They; and for pools that are not trained, the config that says what they will hold.

    Raises:
        PoolError: If a pool is neither trained nor that of a config of muster.
    """
    planned: dict[Path, Path] = {}

    def members(folder: Path | None) -> tuple[KnownMember, ...]:
        if folder is None:
            return ()
        if (folder / MEMBERS).is_dir():
            return tuple(KnownMember.of(member) for member in Pool.open(folder))
        planned[folder] = config_of(folder)
        return planned_members(planned[folder], data_root)

    candidates = tuple(member for folder in settings.pools for member in members(folder))
    return KnownPools(candidates, members(settings.large_pool), members(settings.capped_pool)), planned


def config_of(folder: Path) -> Path:
    """The config of muster that trains a pool.

    Args:
        folder: As the config writes its output.

    Raises:
        PoolError: If there is none.
    """
    for path in sorted((CONFIGS / "train").glob("*.yaml")):
        content = read_yaml_file(path, PoolError)
        if isinstance(content, dict) and content.get("output") == str(folder):
            return path
    raise PoolError(
        f"{folder} is no pool yet, and no config of muster trains one there. Train it first, or name a pool of one "
        f"of the configs in {CONFIGS / 'train'}."
    )


def planned_members(config: Path, data_root: Path | None) -> tuple[KnownMember, ...]:
    """The members that a config plans.

    Args:
        config: What ``train.py --config`` takes.
        data_root: Folder below which its datasets are looked for.
    """
    command = COMMANDS["train"]
    parser = build_parser(command.function(), "train", None)
    values = parser.instantiate(parser.parse_args([f"--config={config}"]))
    plan = values.plan
    jobs, sources = spell_out(plan, values.training, values.output, values.hardware, data_root, open_one=foresee_source)
    trained = [
        KnownMember(job.name, tuple(sources[name].spec.name for name in job.sources), job.architecture, job.pretraining)
        for job in jobs
    ]
    adopted = [
        KnownMember(entry.name, (entry.dataset,) if entry.dataset else (), entry.architecture or "", entry.pretraining)
        for entry in plan.adopt
    ]
    return (*trained, *adopted)
