#!/usr/bin/env python3
"""A Markdown table of what `--json` printed: table.py KEY,KEY... NAME=FILE.json [...]

A row is named NAME. Several files of one name, as of repeated trainings, give one row of medians,
with every value behind it. FILE may hold the object of any aetool command; a key of `metrics` is
written metrics.KEY. NAME=FILE.json,MORE.json takes keys from several files.
"""

import json
import sys
from statistics import median


def look_up(document, key):
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def cell(values):
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in numbers]
    if len(numbers) == 1:
        return texts[0]
    return f"{median(numbers):.4g} ({', '.join(texts)})"


def main(keys, entries):
    keys = keys.split(",")
    rows = {}
    for entry in entries:
        name, _, paths = entry.partition("=")
        document = {}
        for path in paths.split(","):
            with open(path, encoding="utf-8") as file:
                document |= json.load(file)
        rows.setdefault(name, []).append(document)
    print("| |", " | ".join(keys), "|")
    print("|---" * (len(keys) + 1) + "|")
    for name, documents in rows.items():
        cells = [cell([look_up(document, key) for document in documents]) for key in keys]
        print("|", name, "|", " | ".join(cells), "|")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
