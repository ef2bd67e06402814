from __future__ import annotations

from datetime import UTC, datetime, timedelta

import torch

from muster.machine import device_label, now


def test_now_has_its_time_zone() -> None:
    moment = datetime.fromisoformat(now())
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_a_cpu_is_told_with_its_threads() -> None:
    label = device_label("cpu")
    assert label.startswith("cpu (")
    assert f", {torch.get_num_threads()} thread" in label
    assert device_label(torch.device("cpu"), 2) == f"2 x {label}"
