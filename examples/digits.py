#!/usr/bin/env python3
"""MNIST prepared: digits.py MNIST.npz OUT.npz [--first N] [--binarize]

--first N keeps the first N training pictures. --binarize draws each pixel once, black or white with
its grey as the chance of white, from seed 0: the statically binarised digits of Salakhutdinov and
Murray (2008), up to their draws.

MNIST.npz is the file that Keras keeps as ~/.keras/datasets/mnist.npz.
"""

import argparse

import numpy as np

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("source")
parser.add_argument("output")
parser.add_argument("--first", type=int)
parser.add_argument("--binarize", action="store_true")
options = parser.parse_args()

with np.load(options.source) as file:
    arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
if options.binarize:
    random = np.random.default_rng(0)
    for name in ("x_train", "x_test"):
        chance = arrays[name] / np.float32(255)
        arrays[name] = np.uint8(255) * (random.random(chance.shape, np.float32) < chance)
for name in ("x_train", "y_train"):
    arrays[name] = arrays[name][: options.first]
np.savez_compressed(options.output, **arrays)
