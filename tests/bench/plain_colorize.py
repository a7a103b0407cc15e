"""What one would write without aetool: load, predict, convert, save. plain_colorize.py IN OUT"""

import sys
from pathlib import Path

import h5py
import keras
import numpy as np
from PIL import Image

from aetool.images.color import lab_to_rgb, luma_to_lightness

source, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
checkpoint = Path(__file__).parents[2] / "aetool" / "weights" / "colorizer.h5"
model = keras.models.load_model(checkpoint, compile=False)
with h5py.File(checkpoint) as file:
    bins, weights = file["aetool/ab_bins"][:], file["aetool/ab_weights"][:]
height, width = model.input_shape[1:3]

paths = sorted(source.rglob("*.jpg"))
greys = [Image.open(path).convert("L") for path in paths]
small = np.stack([np.asarray(grey.resize((width, height))) for grey in greys])
chances = model.predict(small[..., None].astype(np.float32) / 255)
sharp = (chances / weights**0.7) ** (1 / 0.7)
colours = 1.48 * (sharp / sharp.sum(axis=-1, keepdims=True)) @ bins.astype(np.float32)

for path, grey, ab in zip(paths, greys, colours, strict=True):
    planes = [Image.fromarray(plane).resize(grey.size) for plane in np.moveaxis(ab, -1, 0)]
    lightness = luma_to_lightness(np.asarray(grey, np.float32) / 255)
    lab = np.stack([lightness, *map(np.asarray, planes)], axis=-1)
    rgb = np.clip(lab_to_rgb(lab), 0, 1)
    Image.fromarray(np.uint8(rgb * 255 + 0.5)).save(out / path.name, quality=95)
