"""Metrics with wrappers, as they are written on the command line."""

from __future__ import annotations

import pytest

from muster.metrics import METRICS, parse_metric


@pytest.mark.parametrize("name", METRICS)
def test_plain_names(name: str) -> None:
    measure = parse_metric(name)
    assert (measure.name, measure.metric, measure.title) == (name, METRICS[name], METRICS[name].title)
    assert (measure.dimensions, measure.hard, measure.with_depth) == (None, None, False)
    assert measure.needs == set(METRICS[name].needs)


def test_wrappers_in_any_order() -> None:
    for text in ("logme+pca32+haste_cs+l", "logme+l+pca32+haste_cs"):
        measure = parse_metric(text)
        assert (measure.dimensions, measure.hard, measure.with_depth) == (32, "pixels", True)
        assert measure.title == "HASTE(CS)-LogME + l, f=32"
        assert measure.name == text


def test_buckets_have_a_name_of_their_own() -> None:
    measure = parse_metric("e_leep+haste_ca_2of5")
    assert (measure.hard, measure.bucket, measure.hard_subset) == ("images", (2, 5), "images 2 5")
    assert measure.title == "HASTE(CA 2/5)-E-LEEP"
    assert parse_metric("e_leep+haste_ca").hard_subset == "images"
    assert parse_metric("e_leep").hard_subset == ""


def test_hardness_needs_what_it_is_measured_on() -> None:
    assert parse_metric("leep+haste_cs").needs == {"probs", "labels", "features"}
    assert parse_metric("leep+haste_ca").needs == {"probs", "labels", "source_layers", "target_layers"}


def test_ms_leep_on_hard_subsets_is_a_sum_over_members() -> None:
    measure = parse_metric("ms_leep+haste_cs")
    assert (measure.metric.name, measure.title) == ("leep", "HASTE(CS)-MS-LEEP")


def test_gbc_on_hard_subsets_is_spherical() -> None:
    assert parse_metric("gbc+haste_ca").metric.name == parse_metric("gbc_spherical+haste_cs").metric.name
    assert parse_metric("gbc+haste_ca").title == "HASTE(CA)-GBC (spherical)"
    assert parse_metric("gbc+pca64").metric.name == "gbc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logmee", "Did you mean 'logme'"),
        ("logme+pcb32", "Unknown wrapper 'pcb32'"),
        ("logme+pca0", "Unknown wrapper 'pca0'"),
        ("logme+", "Unknown wrapper ''"),
        ("logme+l+l", "wraps twice"),
        ("logme+pca8+pca9", "wraps twice"),
        ("leep+haste_ca+haste_cs", "wraps twice"),
        ("leep+haste_ca_2of5+haste_ca", "wraps twice"),
        ("leep+haste_ca_3of2", "asks for bucket 3 of 2"),
        ("leep+haste_ca_0of2", "Unknown wrapper"),
        ("leep+pca32", "'\\+pca' reduces features"),
        ("otce+pca32", "'\\+pca' reduces features"),
        ("e_leep+l", "no score of single members"),
        ("osborn+l", "no score of single members"),
        ("base+haste_ca", "HASTE needs"),
        ("osborn+haste_ca", "HASTE needs"),
        ("parc+haste_cs", "use '\\+haste_ca'"),
    ],
)
def test_what_does_not_go_together(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metric(text)
