"""The pictures of one training run, and what the network is to make of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aetool.errors import Failure, ImageError, TrainingError, UsageError
from aetool.images.augment import stored_size
from aetool.images.color import AB_SCALE
from aetool.images.pairs import SIDES
from aetool.images.source import Source
from aetool.models.specs import family
from aetool.tasks.plan import AB_LOSSES, Plan
from aetool.tasks.train import Listeners, split
from aetool.training.pairs import (
    AbPair,
    ClassifyPair,
    TranslatePair,
    colorize_pair,
    edges_pair,
    reconstruct_pair,
)
from aetool.training.pictures import Pictures
from aetool.training.targets import Halves, Pairing, Targets

# Pictures of a source whose sizes and colours are looked at where --size is not given.
_LOOK_AT = 64


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from.

    Args:
        pictures: to learn from.
        held_out: to measure on, or None.
        size: (height, width) of the network's input.
        channels: of the network's input.
        outputs: channels of the picture it gives.
        classes: names of the labels, as far as any were asked for or are there.
        failed: the pictures left out, of both sets.
    """

    pictures: Pictures
    held_out: Pictures | None
    size: tuple[int, int]
    channels: int
    outputs: int
    classes: tuple[str, ...]
    failed: tuple[Failure, ...]

    @property
    def sets(self) -> tuple[Pictures, ...]:
        return (self.pictures, self.held_out) if self.held_out else (self.pictures,)


def load_data(
    source: Source,
    others: Mapping[str, Source],
    plan: Plan,
    max_pixels: int,
    listeners: Listeners,
) -> TrainingData:
    """Split, pair, and decode.

    Args:
        source: the pictures.
        others: {as the plan has it: opened}, those of targets and validation from elsewhere.
        plan: what is to be learnt.
        max_pixels: refuse larger pictures.
        listeners: told of pictures decoded, and when none can be held out.

    Raises:
        SourceError: when pictures and targets do not go together.
        UsageError: for arguments that contradict one another.
        TrainingError: when nothing is left to learn from.
    """
    learnt, held_out = split(source, plan.held_out_fraction or 0.0, plan.only, plan.settings.seed)
    pairing = held_out_pairing = _pairing(plan, source, others)
    if plan.held_out_fraction is None:
        elsewhere = others[plan.validation]
        held_out, _ = split(elsewhere, 0.0, plan.only, 0)
        if plan.target in others and None in (elsewhere.path(0), others[plan.target].path(0)):
            raise UsageError(
                "rows of arrays are paired by their order: other pictures have other targets",
                "give a share of SOURCE for --validation",
            )
        held_out_pairing = _pairing(plan, elsewhere, others)
    size, channels, outputs = _shape(plan, learnt, pairing, max_pixels)
    classes = plan.only or source.class_names
    if plan.task == "classify" and len(classes) < 2:
        if plan.only:
            raise TrainingError(f"--only {plan.only[0]} leaves no second class to tell it from")
        raise TrainingError(
            f"{source.root} has no labels of two classes to tell apart",
            "a folder for each class, or an array with labels",
        )

    def pictures(
        chosen: Source, augmentations: tuple[str, ...], pairing: Pairing | None
    ) -> Pictures:
        return Pictures(
            chosen,
            stored_size(size, augmentations),
            (channels, outputs) if pairing else outputs,
            how=plan.fit,
            max_pixels=max_pixels,
            progress=listeners.decoding,
            pairing=pairing,
            classes=classes if plan.task == "classify" else (),
        )

    chosen, measured = pictures(learnt, plan.settings.augment, pairing), None
    failed = tuple(chosen.failed)
    if held_out is not None:
        measured = pictures(held_out, (), held_out_pairing)
        failed += tuple(measured.failed)
    if not len(chosen) or (plan.held_out_fraction is None and not len(measured)):
        raise _nothing_readable(measured if len(chosen) else chosen)
    if measured is not None and not len(measured):
        listeners.note("none of the pictures held out can be read: there is no validation")
        measured = None
    return TrainingData(chosen, measured, size, channels, outputs, classes, failed)


def _nothing_readable(pictures: Pictures) -> TrainingError:
    failed = pictures.failed
    return TrainingError(
        f"no picture in {pictures.source.root} can be read",
        f"{failed[0].path}: {failed[0].reason}" if failed else None,
    )


def make_pair(plan: Plan, spec: dict):
    """The function of training.pairs that a plan and a complete specification ask for."""
    if plan.task == "colorize":
        if plan.settings.loss not in AB_LOSSES:
            return colorize_pair
        scale = 1.0 if plan.settings.loss == "ab-crossentropy" else AB_SCALE
        return AbPair(spec["output_stride"], scale)
    if plan.task == "classify":
        return ClassifyPair(spec["classes"])
    if plan.task == "translate":
        return edges_pair if plan.edges else TranslatePair(spec["channels"])
    return reconstruct_pair


def _pairing(plan: Plan, source: Source, others: Mapping[str, Source]) -> Pairing | None:
    """Where the targets of a source's pictures are, if they are not made from those."""
    if plan.target in SIDES:
        return Halves(plan.target)
    return Targets(source, others[plan.target]) if plan.target else None


def _shape(
    plan: Plan, source: Source, pairing: Pairing | None, max_pixels: int
) -> tuple[tuple[int, int], int, int]:
    """((height, width), channels in, channels out): as asked, or the pictures' own."""
    step = -(-len(source) // _LOOK_AT)
    looks: list[tuple[np.ndarray, ...]] = []
    for i in range(0, len(source), step):
        try:
            looks.append(_pixels(source, i, pairing, max_pixels))
        except ImageError:
            continue
    sizes = {look[0].shape[:2] for look in looks}
    given, wanted = (_channels([look[end] for look in looks]) for end in (0, -1))
    size = plan.size or plan.model.get("size")
    if size is None:
        size = sizes.pop() if len(sizes) == 1 else family(plan.model["name"]).size
    if plan.task == "colorize":
        given, wanted = 1, 3
    elif plan.edges:
        given = 1
    else:
        given = plan.model.get("channels", given)
    if pairing is None and plan.task != "colorize" and not plan.edges:
        wanted = given
    elif plan.task == "translate":
        wanted = plan.model.get("outputs", wanted)
    for channels in (given, wanted):
        if channels not in (1, 3):
            raise UsageError(f"pictures have 1 or 3 channels, not {channels}")
    return tuple(size), given, wanted


def _pixels(
    source: Source, i: int, pairing: Pairing | None, max_pixels: int
) -> tuple[np.ndarray, ...]:
    if pairing is not None:
        return pairing.load(source, i, max_pixels, None)
    return (source.load(i, max_pixels=max_pixels).pixels,)


def _channels(pictures: list[np.ndarray]) -> int:
    return 3 if any(pixels.ndim == 3 and pixels.shape[2] == 3 for pixels in pictures) else 1
