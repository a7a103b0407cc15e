#!/usr/bin/env python3
"""How well scores tell each class from the normal one: auroc.py NORMAL SCORES.csv

SCORES.csv is what `aetool anomaly` wrote; NORMAL the label that the model was trained on. Prints a
Markdown table of the area under the ROC curve, a row a class, and their mean.
"""

import csv
import sys
from collections import defaultdict

from sklearn.metrics import roc_auc_score

if len(sys.argv) != 3:
    sys.exit(__doc__)
normal, path = sys.argv[1:]
scores = defaultdict(list)
with open(path, encoding="utf-8", newline="") as file:
    for row in csv.DictReader(file):
        scores[row["label"]].append(float(row["score"]))
good = scores.pop(normal)
print(f"| {normal} against | AUROC |\n|---|---|")
areas = []
for label, bad in sorted(scores.items()):
    areas.append(roc_auc_score([0] * len(good) + [1] * len(bad), good + bad))
    print(f"| {label} | {areas[-1]:.4f} |")
print(f"| mean | {sum(areas) / len(areas):.4f} |")
