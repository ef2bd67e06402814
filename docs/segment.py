"""Segment image files with an exported ensemble: python segment.py MODEL.onnx IMAGE ... writes IMAGE.mask.png."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=onnxruntime.get_available_providers())
about = session.get_modelmeta().custom_metadata_map
classes, colours = json.loads(about["muster.classes"]), json.loads(about["muster.colours"])
for name in map(Path, sys.argv[2:]):
    pixels = np.asarray(Image.open(name).convert("RGB"))  # any size; the file resizes and normalises
    (mask,) = session.run(["classes"], {"image": pixels.transpose(2, 0, 1)[None]})  # or "probabilities"
    image = Image.fromarray(mask[0])
    image.putpalette(bytes.fromhex("".join(colour[1:] for colour in colours)))
    image.save(f"{name}.mask.png")
    shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
    print(name, *(f"{classes[index]} {shares[index]:.0%}" for index in np.argsort(-shares)[:3]))
