"""Pictures a second of the compute engine against Keras `predict` and PyTorch, and its fidelity.

aetool has as many batches in the engine at a time as in its commands; Keras and PyTorch give all
processors to one. Weights are random, with biases and statistics that are not 0 and 1, as after a
training; the fidelity of trained ones is decided at the end of each. GFLOP/s count two operations a
multiplication of the convolutions; the ceiling is a matrix product of 4,096 by 4,096 in bfloat16.
"""

import keras
import numpy as np
import tensorflow as tf
import torch
from timing import at_once, rates, table
from torch_unet import UNet

from aetool.inference.engine import Engine
from aetool.inference.precision import has_bfloat16
from aetool.inference.stream import AT_ONCE
from aetool.models.build import build_model, complete
from aetool.models.specs import FAMILIES

UNET_GFLOP = 13.5  # a picture of 96x96
SPECS = {
    "unet": {"size": (96, 96), "channels": 1, "outputs": 3},
    "vgg-classifier-ae": {"size": (32, 32), "channels": 3, "classes": 10},
    "stacked-ae": {"size": (80, 80), "channels": 3},
    "pix2pix": {"size": (128, 128), "channels": 1, "outputs": 3},
}


def measure() -> str:
    rows = []
    for name in FAMILIES:
        rows.append(_family(name))
        keras.backend.clear_session()
    rows.sort(key=lambda row: row[5])
    families = table(
        [
            "family",
            "Keras float32",
            "aetool float32",
            "aetool auto",
            "fidelity, dB",
            "auto / Keras",
        ],
        rows,
    )
    return f"{families}\n\n{_against_torch()}"


def _family(name: str) -> list[object]:
    spec = complete({"name": name, **SPECS.get(name, {"size": (28, 28), "channels": 1})})
    model = _with_statistics(build_model(spec))
    precise, fast = (Engine(model, precision=p) for p in ("float32", "auto"))
    x = np.random.default_rng(0).random((precise.batch_size, *precise.input_shape), np.float32)

    def predict():
        return model.predict(x, batch_size=len(x), verbose=0) is not None and len(x)

    measured = rates(
        {
            "keras": predict,
            "float32": at_once(precise.predict, x, AT_ONCE),
            "auto": at_once(fast.predict, x, AT_ONCE),
        },
        rounds=3,
        seconds=2,
    )
    output = precise.output_names[0]
    error = precise.predict(x)[output] - fast.predict(x)[output]
    fidelity = -10 * np.log10(max(float(np.mean(error**2)), 1e-12))
    return [name, *measured.values(), fidelity, measured["auto"] / measured["keras"]]


def _with_statistics(model: keras.Model) -> keras.Model:
    """With zeros for biases a graph is simplified as that of a trained model cannot be."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("bias", "beta", "moving_mean")):
            variable.assign(random.normal(0, 0.05, variable.shape))
        elif variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def _against_torch() -> str:
    spec = complete({"name": "unet", **SPECS["unet"]})
    model = _with_statistics(build_model(spec))
    engine = Engine(model)
    batch = engine.batch_size
    x = np.random.default_rng(0).random((batch, 96, 96, 1), np.float32)
    network = UNet().eval()
    assert sum(p.numel() for p in network.parameters()) + 11_776 == model.count_params()
    planes = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    last = network.to(memory_format=torch.channels_last)
    compiled = torch.compile(last)

    @torch.inference_mode()
    def run(module, bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            module(planes.to(memory_format=torch.channels_last))
        return batch

    side = 4096
    square = tf.cast(tf.random.normal((side, side)), tf.bfloat16)
    product = tf.function(lambda: tf.linalg.matmul(square, square))
    contenders = {
        "Keras `predict` float32": lambda: len(model.predict(x, batch_size=batch, verbose=0)),
        "aetool": at_once(engine.predict, x, AT_ONCE),
        "PyTorch float32, channels last": lambda: run(last, False),
        "PyTorch bfloat16 autocast": lambda: run(last, True),
        "torch.compile bfloat16": lambda: run(compiled, True),
        "matrix product": lambda: product() is not None and 1,
    }
    measured = rates(contenders)
    ceiling = measured.pop("matrix product") * 2 * side**3 / 1e9
    ours = measured["aetool"]
    rows = [
        [name, value, ours / value, value * UNET_GFLOP, value * UNET_GFLOP / ceiling]
        for name, value in measured.items()
    ]
    header = [
        "U-Net 31M at 96x96",
        "pictures/s",
        "aetool is faster by",
        "GFLOP/s",
        "of the ceiling",
    ]
    note = f"Batches of {batch}; bfloat16 in hardware: {'yes' if has_bfloat16() else 'no'}; "
    return table(header, rows) + f"\n\n{note}ceiling {ceiling:.0f} GFLOP/s."
