"""Classify images with an exported ensemble: python classify.py MODEL.onnx IMAGE ... prints the likeliest classes."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=onnxruntime.get_available_providers())
classes = json.loads(session.get_modelmeta().custom_metadata_map["muster.classes"])
for name in sys.argv[2:]:
    pixels = np.asarray(Image.open(name).convert("RGB"))  # any size; the file resizes and normalises
    (probabilities,) = session.run(["probabilities"], {"image": pixels.transpose(2, 0, 1)[None]})  # or "classes"
    best = np.argsort(-probabilities[0])[:3]
    print(name, *(f"{classes[index]} {probabilities[0, index]:.0%}" for index in best))
