"""The look all figures share, and how they are saved."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from aetool.errors import UsageError

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 200
INK = "#262626"
FAINT = "#c8c8c8"

_SETTINGS = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": "#8c8c8c",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#595959",
    "ytick.color": "#595959",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "aetool",  # the same figure is the same bytes
    "pdf.fonttype": 42,
}

# Petroff (2021), "Accessible color sequences for data visualization": told apart with every kind of
# colour vision, and with none by lightness.
_TEN = matplotlib.color_sequences["petroff10"]


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the shared look, whatever matplotlibrc says; nothing is changed outside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def class_colors(count: int) -> np.ndarray:
    """Colours for classes, sRGB (count, 3) in [0, 1], as far apart as so many can be.

    Up to ten are a published accessible sequence; more walk around the hue circle of OKLCH
    (Ottosson 2020) in three lightnesses.
    """
    if count <= len(_TEN):
        return np.array([matplotlib.colors.to_rgb(color) for color in _TEN[:count]])
    number = np.arange(count)
    ring, place = number % 3, number // 3
    around = -(-count // 3)
    # Evenly spaced, but in the order of the golden ratio's multiples: the next class is far away.
    rank = np.argsort(np.argsort(np.arange(around) * 0.6180339887 % 1))
    hue = 2 * np.pi * (rank[place] + ring / 3) / around
    lightness = np.array([0.50, 0.66, 0.80])[ring]
    chroma = np.array([0.15, 0.14, 0.12])[ring]
    return _oklch_to_srgb(lightness, chroma, hue)


def _oklch_to_srgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    cones = np.stack((long, medium, short), axis=-1)
    linear = cones @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def short_name(name: str, length: int = 24) -> str:
    """A class name that fits a figure: on one line, its middle left out where it is long."""
    name = " ".join(name.encode("utf-8", "replace").decode().split())
    if len(name) <= length:
        return name
    half = (length - 1) // 2
    return f"{name[: length - 1 - half]}…{name[-half:]}"


def check_figure_path(path: Path) -> None:
    """Refuse a figure whose suffix is none of FIGURE_SUFFIXES, before any work is done.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise UsageError(
            f"cannot draw {path}: its name ends in none of {', '.join(FIGURE_SUFFIXES)}",
            f"call it {path.stem or 'figure'}.png",
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format its suffix names, without a date: the same figure, same bytes.

    The caller makes the write atomic.
    """
    kind = path.suffix.lower().removeprefix(".")
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": None}
    with figure_style(), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; the table has it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(
            path,
            format=kind,
            dpi=DOTS_PER_INCH,
            bbox_inches="tight",
            pad_inches=0.08,
            metadata=dates[kind],
        )
