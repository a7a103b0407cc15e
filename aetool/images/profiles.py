"""The ICC profiles of sRGB, and pictures brought to sRGB from the profile they carry."""

import struct
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_FIXED_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def _srgb_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The header holds the time of creation: equal pictures shall give equal files.
    return profile[:24] + _FIXED_DATE + profile[36:]


def _srgb_grey_profile() -> bytes:
    """A version 2 grey profile with the transfer curve of sRGB (IEC 61966-2-1)."""
    encoded = np.linspace(0, 1, 1024)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    curve = np.round(linear * 65535).astype(">u2").tobytes()
    name = b"sRGB grey\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"Public domain\0",
        b"wtpt": b"XYZ " + struct.pack(">I3I", 0, 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv" + struct.pack(">II", 0, 1024) + curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for signature, data in tags.items():
        table += signature + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s24sI3I48s",
        start + len(body), b"", 0x02100000, b"mntr", b"GRAY", b"XYZ ", _FIXED_DATE, b"acsp",
        b"", 0, 0xF6D6, 0x10000, 0xD32D, b"",
    )  # fmt: skip
    return header + table + body


SRGB = _srgb_profile()
SRGB_GREY = _srgb_grey_profile()


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture's colours to sRGB.

    Args:
        image: mode L, I;16, RGB or CMYK.
        profile: the ICC profile embedded in its file. None, a broken one, one of another colour
            model and one that is already sRGB change nothing.

    Returns:
        L stays L, I;16 stays I;16, all others become RGB.
    """
    if image.mode == "L" and (transform := _transform(profile, "RGB")):
        return ImageCms.applyTransform(image.convert("RGB"), transform).getchannel("G")
    if transform := _transform(profile, image.mode):
        return ImageCms.applyTransform(image, transform)
    return image if image.mode in ("L", "I;16") else image.convert("RGB")


def is_srgb(profile: bytes | None, mode: str) -> bool:
    """Whether to_srgb would keep the values of a picture of this mode: L, I;16 or RGB."""
    return _transform(profile, mode) is None and (mode != "L" or _transform(profile, "RGB") is None)


@lru_cache(maxsize=32)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB, or None where there is nothing to do or no way to do it."""
    if profile is None:
        return None
    grey = mode in ("L", "I;16")
    try:
        transform = ImageCms.buildTransform(
            BytesIO(profile),
            BytesIO(SRGB_GREY if grey else SRGB),
            mode,
            mode if grey else "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    probe = _probe(mode)
    change = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int) - np.asarray(probe)
    return transform if np.abs(change).max() > (257 if mode == "I;16" else 1) else None


def _probe(mode: str) -> Image.Image:
    """Colours spread over the whole of a mode: a transform that keeps them is the identity."""
    if mode == "I;16":
        return Image.fromarray(np.linspace(0, 65535, 512).astype(np.uint16)[None])
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3))
