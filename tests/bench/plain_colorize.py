"""What one would write without aetool: load, predict, convert, save. Arguments MODEL IN OUT."""

import sys
from pathlib import Path

import h5py
import keras
import numpy as np
from PIL import Image

from aetool.images.color import lab_to_rgb, luma, luma_to_lightness

checkpoint, source, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
model = keras.models.load_model(checkpoint, compile=False)
height, width = model.input_shape[1:3]

paths = sorted(source.rglob("*.jpg"))
greys = [Image.open(path).convert("L") for path in paths]
small = np.stack([np.asarray(grey.resize((width, height))) for grey in greys])
outputs = model.predict(small[..., None].astype(np.float32) / 255)
with h5py.File(checkpoint) as file:
    binned = "ab_bins" in file["aetool"]
    if binned:  # the colorizer that ships
        sharp = (outputs / file["aetool/ab_weights"][:] ** 0.7) ** (1 / 0.7)
        sharp /= sharp.sum(axis=-1, keepdims=True)
        outputs = 1.48 * sharp @ file["aetool/ab_bins"][:].astype(np.float32)

for path, grey, output in zip(paths, greys, outputs, strict=True):
    planes = [Image.fromarray(plane).resize(grey.size) for plane in np.moveaxis(output, -1, 0)]
    colours = np.stack(list(map(np.asarray, planes)), axis=-1)
    y = np.asarray(grey, np.float32)[..., None] / 255
    if binned:
        rgb = lab_to_rgb(np.concatenate([luma_to_lightness(y), colours], axis=-1))
    else:
        rgb = y + colours - luma(colours)[..., None]
    rgb = np.clip(rgb, 0, 1)
    Image.fromarray(np.uint8(rgb * 255 + 0.5)).save(out / path.name, quality=95)
