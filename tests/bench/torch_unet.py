"""The U-Net of 31,054,275 parameters in PyTorch: aetool's layers, for the comparison."""

import torch
from torch import nn


def _block(inputs: int, filters: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, filters):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Grey (n, 1, h, w) to colour (n, 3, h, w), each in [0, 1]."""

    def __init__(self, widths=(64, 128, 256, 512), middle=1024):
        super().__init__()
        self.down, self.up, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = 1
        for width in widths:
            self.down.append(_block(channels, width))
            channels = width
        self.middle = _block(channels, middle)
        channels = middle
        for width in reversed(widths):
            self.up.append(nn.ConvTranspose2d(channels, width, 2, stride=2))
            self.join.append(_block(2 * width, width))
            channels = width
        self.out = nn.Conv2d(channels, 3, 1)

    def forward(self, x):
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for up, block in zip(self.up, self.join, strict=True):
            x = block(torch.cat([up(x), kept.pop()], dim=1))
        return torch.sigmoid(self.out(x).float())
