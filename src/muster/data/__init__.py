"""Datasets as data: what they are, how their images are read, and what a model sees of them."""

from __future__ import annotations

from muster.data.content import ContentSketch, content_prefixes, repeated_images, warn_of_shared_images
from muster.data.crops import CropViews
from muster.data.images import IMAGE_SUFFIXES, read_image, read_mask
from muster.data.interleaved import InterleavedStream, source_of_step
from muster.data.labels import judge_labels
from muster.data.layout import LAYOUTS, Layout, open_folder
from muster.data.loading import PreparedBatch, PreparedSplit, prepared_images
from muster.data.opening import DataSettings, open_dataset
from muster.data.pairing import list_images, unreadable_images
from muster.data.preprocessing import SIDE_MULTIPLE, ChannelOrder, ImageSize, Interpolation, Preprocessing, SizeSetting
from muster.data.showing import size_for, usual_preprocessing
from muster.data.spec import (
    MAX_CLASSES,
    VOID,
    Dataset,
    DatasetSpec,
    Sample,
    Split,
    as_numbers,
    is_of_pixels,
    labelled,
    split_record,
    units_of,
)
from muster.data.statistics import (
    ChannelStatistics,
    SplitCheck,
    channel_statistics,
    check_split,
    class_pixel_counts,
    require_usable,
)
from muster.data.stream import ExampleStream, TrainingStream, cached, make_loader, preload
from muster.data.texts import decode_text, encode_text
from muster.data.transforms import TrainingTransform, normalise_crops, prepare_image
from muster.data.views import Views, map_views, prepare_views, view_for

__all__ = [
    "IMAGE_SUFFIXES",
    "LAYOUTS",
    "MAX_CLASSES",
    "SIDE_MULTIPLE",
    "VOID",
    "ChannelOrder",
    "ChannelStatistics",
    "ContentSketch",
    "CropViews",
    "DataSettings",
    "Dataset",
    "DatasetSpec",
    "ExampleStream",
    "ImageSize",
    "InterleavedStream",
    "Interpolation",
    "Layout",
    "PreparedBatch",
    "PreparedSplit",
    "Preprocessing",
    "Sample",
    "SizeSetting",
    "Split",
    "SplitCheck",
    "TrainingStream",
    "TrainingTransform",
    "Views",
    "as_numbers",
    "cached",
    "channel_statistics",
    "check_split",
    "class_pixel_counts",
    "content_prefixes",
    "decode_text",
    "encode_text",
    "is_of_pixels",
    "judge_labels",
    "labelled",
    "list_images",
    "make_loader",
    "map_views",
    "normalise_crops",
    "open_dataset",
    "open_folder",
    "preload",
    "prepare_image",
    "prepare_views",
    "prepared_images",
    "read_image",
    "read_mask",
    "repeated_images",
    "require_usable",
    "size_for",
    "source_of_step",
    "split_record",
    "units_of",
    "unreadable_images",
    "usual_preprocessing",
    "view_for",
    "warn_of_shared_images",
]
