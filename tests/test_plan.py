"""What a plan refuses before any picture is opened, and what it takes for the same."""

import pytest

from aetool.errors import UsageError
from aetool.tasks.plan import difference, make_plan


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arguments": {"name": "unet"}}, "--model names the family"),
        ({"arguments": {"size": 32}}, "--size gives it"),
        ({"model": "unet", "arguments": {"activation": "softmax"}}, "follows from --loss"),
        ({"model": "unet", "arguments": {"outputs": 3}}, "follow from --task"),
        ({"model": "vgg-classifier-ae", "arguments": {"classes": 3}}, "follow from the labels"),
        ({"model": "unet", "arguments": {"output_stride": 2}}, "a smaller picture"),
        ({"recipe": "colorizer", "loss": "mse"}, "output_stride 4 leaves loss mse"),
        ({"model": "conv-vae", "loss_weights": {"divergence": float("nan")}}, "divergence=nan"),
        ({"model": "conv-vae", "loss_weights": {"divergence": -1.0}}, "at least 0"),
        ({"model": "pix2pix", "edges": True, "loss": "binary-crossentropy"}, "takes 0 to 1"),
        ({"patch": 70}, "no discriminator"),
        ({"label_smoothing": 0.1}, "does not learn labels"),
        ({"model": "vgg-classifier-ae", "label_smoothing": 1.0}, "from 0 to below 1"),
        ({"model": "vgg-classifier-ae", "label_smoothing": float("nan")}, "from 0 to below 1"),
        ({"model": "stacked-ae", "arguments": {"widths": 16}, "stages": (1, 1)}, "1 levels"),
    ],
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(UsageError) as caught:
        make_plan(**options)
    assert said in caught.value.message


def test_a_number_of_outputs_is_free_where_pictures_become_others():
    plan = make_plan(model="pix2pix", edges=True, arguments={"outputs": 1})
    assert plan.model["outputs"] == 1


def test_the_recipe_of_the_colorizer_learns_whole_pictures_at_full_size():
    plan = make_plan(recipe="colorizer", loss="mse", arguments={"output_stride": 1})
    assert plan.settings.loss == "mse"


def test_an_option_takes_the_place_of_the_recipes_argument():
    recipe = make_plan(recipe="colorizer").settings.optimizer
    assert "weight_decay" in recipe
    plan = make_plan(recipe="colorizer", weight_decay=0.02, clip_norm=1.0)
    assert plan.settings.optimizer == "adamw" and plan.settings.weight_decay == 0.02
    own = make_plan(recipe="colorizer", weight_decay=0.02, optimizer="adamw:weight_decay=0.1")
    assert own.settings.optimizer == "adamw:weight_decay=0.1"


def test_a_class_named_twice_counts_once():
    assert make_plan(only=("3", "3", "4")).only == ("3", "4")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({"weight_decay": None}, {"weight_decay": 0.0}, False),
        ({"weight_decay": 0.0}, {"weight_decay": 0.0}, True),
        ({}, {"stages": [], "half": False, "target": None}, True),
        ({"seed": 0}, {"seed": 0}, True),
    ],
)
def test_zero_is_not_the_same_as_nothing(before, after, same):
    assert (difference({"accumulate": 1} | before, {"accumulate": 1} | after) is None) == same
