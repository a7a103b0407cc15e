"""Training steps: pictures a second of aetool's regimes and of PyTorch, for the 31M U-Net.

Mean squared error and Adam for all. PyTorch's bfloat16 is autocast with channels last.
"""

import numpy as np
import torch
from timing import rates, table
from torch_unet import UNet

from aetool.models.build import build_model, complete
from aetool.training.losses import loss_function
from aetool.training.regimes import make_regime
from aetool.training.settings import Settings

BATCH, SIDE = 16, 96


def measure() -> str:
    random = np.random.default_rng(0)
    x = random.random((BATCH, SIDE, SIDE, 1), np.float32)
    y = random.random((BATCH, SIDE, SIDE, 3), np.float32)
    spec = complete({"name": "unet", "size": (SIDE, SIDE), "channels": 1, "outputs": 3})
    contenders = {
        "Keras float32": _keras(spec, "float32", x, y),
        "aetool float32": _aetool(spec, "float32", x, y),
        "aetool bfloat16": _aetool(spec, "bfloat16", x, y),
        "PyTorch float32, channels last": _torch(False, x, y),
        "PyTorch bfloat16 autocast, channels last": _torch(True, x, y),
    }
    measured = rates(contenders, rounds=3, seconds=6)
    base = measured["PyTorch bfloat16 autocast, channels last"]
    rows = [
        [name, value, value / measured["Keras float32"], value / base]
        for name, value in measured.items()
    ]
    return table(["", "pictures/s", "of Keras float32", "of PyTorch bfloat16"], rows)


def _keras(spec, dtype, x, y):
    model = build_model(spec, dtype=dtype)
    model.compile("adam", "mse")
    return lambda: model.train_on_batch(x, y) is not None and len(x)


def _aetool(spec, precision, x, y):
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    settings = Settings(batch_size=len(x), precision=precision)
    learner = make_regime(build_model(spec, dtype=dtype), spec, settings, loss_function("mse"))
    return lambda: learner.train_batch(x, y) is not None and len(x)


def _torch(bfloat16, x, y):
    network = UNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters())
    planes, truth = (
        torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)
        for array in (x, y)
    )

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out = network(planes)
        torch.nn.functional.mse_loss(out.float(), truth).backward()
        optimizer.step()
        return len(x)

    return step
