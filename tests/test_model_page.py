"""The page of a model: metadata that the hub's own library reads, and text that keeps its form whatever is in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from muster.model_page import ModelPage, licence_identifier
from muster.pool.page import inherited_licences, member_page
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.multilabel import MULTILABEL
from muster.tasks.segmentation import SEGMENTATION
from tests.report.made_up import make_card

PAGE = ModelPage(
    title="a | b\n# c",
    about="What it *is*.",
    usage="import muster",
    facts={"size": "3"},
    classes=("sky_1", "tree <b>"),
    task=SEGMENTATION,
    licences={"data of x": "CC BY 4.0", "weights": "CC-BY 4.0"},
    datasets=["x y/z", "x y/z"],
    citations=["Someone (2020)", "", "Someone (2020)"],
    tags=["ensemble"],
    reached={"x y/z": 0.61234},
)


@pytest.mark.parametrize(
    ("terms", "identifier"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
        ("MIT licence", "mit"),
        ("MIT licence on the source repository (student code); the pictures are not covered", None),
        ("non-commercial research use only", None),
        ("not stated", None),
        ("", None),
    ],
)
def test_only_a_name_alone_is_a_licence(terms: str, identifier: str | None) -> None:
    assert licence_identifier(terms) == identifier


def test_metadata_are_what_the_hub_reads() -> None:
    data = ModelCard(PAGE.text()).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("cc-by-4.0", "muster", "image-segmentation")
    assert data.datasets == ["x-y-z"]
    assert data.metrics == ["mean_iou"]
    assert {"semantic-segmentation", "ensemble"} <= set(data.tags)
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("x y/z", "mean_iou", 0.6123)


def test_each_task_has_the_words_of_the_hub() -> None:
    whole = ModelCard(replace(PAGE, task=CLASSIFICATION).text()).data
    assert (whole.pipeline_tag, whole.metrics) == ("image-classification", ["accuracy"])
    assert "semantic-segmentation" not in whole.tags
    (result,) = whole.eval_results
    assert (result.task_type, result.metric_type, result.metric_name) == (
        "image-classification", "accuracy", "top-1 accuracy",
    )  # fmt: skip
    several = ModelCard(replace(PAGE, task=MULTILABEL).text()).data  # the hub has no name for its result
    assert (several.pipeline_tag, several.metrics, several.eval_results) == ("image-classification", None, None)


def test_terms_that_differ_or_are_unknown_are_others() -> None:
    for second in ("MIT", "not stated"):
        data = ModelCard(replace(PAGE, licences={"data": "CC BY 4.0", "weights": second}).text()).data
        assert (data.license, data.license_name, data.license_link) == (
            "other", "terms-of-data-and-weights", "README.md",
        )  # fmt: skip


def test_names_cannot_break_the_page() -> None:
    text = ModelCard(PAGE.text()).text
    assert text.lstrip().splitlines()[0] == r"# a \| b \# c"
    assert r"**Classes**: sky\_1, tree \<b\>." in text
    assert text.count("Someone") == 1


def test_a_member_inherits_the_terms_of_its_data_and_of_what_it_started_from() -> None:
    card = replace(make_card("m", "camvid"), seen_datasets=("camvid", "ade20k"), licence="research only")
    assert inherited_licences(card) == {"data of camvid": "research only", "data of ade20k": "not stated"}
    started = replace(card, pretraining="imagenet", started_from={"source": "a package", "licence": "Apache-2.0"})
    assert inherited_licences(started)["weights that m started from (a package)"] == "Apache-2.0"
    unknown = replace(card, pretraining="imagenet")  # a card from before
    assert inherited_licences(unknown)["weights that m started from (imagenet)"] == "not stated"
    adopted = replace(card, weights_licence="MIT")
    assert inherited_licences(adopted)["weights of m, which others trained"] == "MIT"


def test_the_page_of_a_member_says_what_its_card_says() -> None:
    card = replace(make_card("m", "camvid"), licence="MIT")
    page = ModelCard(member_page(card))
    assert page.data.license == "mit"
    assert page.data.datasets == ["camvid"]
    for fact in ("1,234,567", "0.610", "0" * 64, "100 steps of 8 images, seed 0", "domain of"):
        assert fact in page.text
    bare = replace(card, dataset="", domain="", seen_datasets=(), test_result=None, steps=None, licence="", versions={})
    assert "None" not in member_page(bare)
    assert ModelCard(member_page(bare)).data.license == "other"
