"""Recipes: each is a plan that stands, and makes the published model."""

import pytest

from aetool.errors import UsageError
from aetool.tasks.plan import make_plan, parse_loss_weights, parse_numbers
from aetool.tasks.recipes import read_recipe, recipe_names

PARAMETERS = {
    "clusters": ("sklearn:digits", 93_233),
    "mnist-ae": ("sklearn:digits", 4_385),
    "mnist-vae": ("sklearn:digits", 5_285),
    "mnist-unet-small": ("sklearn:digits", 32_885),
    "one-class": ("sklearn:digits", 148_353),
    "pix2pix-edges": ("photos", 19_303_811),
    "stacked-ae": ("photos", 214_979),
}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_a_plan_in_one_line_of_summary(name):
    recipe = read_recipe(name)
    assert set(recipe) == {"summary", "model", "training"}
    assert 20 < len(recipe["summary"]) <= 90 and "\n" not in recipe["summary"]
    plan = make_plan(recipe=name)
    assert plan.recipe == name and plan.model["name"] == recipe["model"]["name"]
    assert plan.settings.epochs == recipe["training"]["epochs"]
    assert plan.settings.batch_size == recipe["training"]["batch_size"]


def test_published_values_that_are_not_the_defaults():
    plan = make_plan(recipe="mnist-ae").settings
    assert (plan.optimizer, plan.learning_rate, plan.epochs) == ("adadelta", 1.0, 10)
    plan = make_plan(recipe="mnist-vae").settings
    assert (plan.optimizer, plan.batch_size, plan.epochs) == ("adam", 128, 100)
    assert plan.loss == "binary-crossentropy-sum"
    for name, epochs in (("stl10-unet", 200), ("stl10-colorize", 100)):
        plan = make_plan(recipe=name).settings
        assert (plan.optimizer, plan.learning_rate) == ("sgd:momentum=0.9", 1e-3)
        assert (plan.loss, plan.batch_size, plan.epochs) == ("mse-sum", 256, epochs)
    plan = make_plan(recipe="cifar10-classifier-ae").settings
    assert plan.loss_weights == {"classification": 1, "reconstruction": 100}
    assert (plan.optimizer, plan.batch_size, plan.epochs) == ("adam", 32, 20)
    plan = make_plan(recipe="pix2pix-facades").settings
    assert (plan.optimizer, plan.learning_rate, plan.patch) == ("adam:beta_1=0.5", 2e-4, 70)
    plan = make_plan(recipe="pix2pix-edges").settings
    assert (plan.learning_rate, plan.batch_size, plan.patch) == (1e-3, 5, 64)
    plan = make_plan(recipe="stacked-ae").settings
    assert plan.stage_rates == (1e-3, 5e-4, 5e-4, 5e-4) and plan.schedule == "inverse-time=0.005"
    assert plan.augment == ("five-crops",) and plan.batch_size == 128 and plan.epochs == 100


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_recipe_makes_the_published_model(name, aetool, photos, tmp_path):
    source, parameters = PARAMETERS[name]
    source = photos if source == "photos" else source
    path = tmp_path / "m.h5"
    done = aetool("train", source, "--recipe", name, "--epochs", 0, "-o", path, "--json")
    assert done.status == 0, done.stderr
    assert done.json["parameters"] == parameters


def test_every_value_of_a_recipe_can_be_overridden():
    plan = make_plan(
        recipe="pix2pix-edges", arguments={"width": 8}, loss_weights={"reconstruction": 5.0},
        patch=16, batch_size=2, edges=False, target="left",
    )  # fmt: skip
    assert plan.settings.loss_weights == {"adversarial": 1.0, "reconstruction": 5.0}
    assert (plan.model["width"], plan.settings.patch, plan.target) == (8, 16, "left")
    other = make_plan(recipe="stacked-ae", model="conv-ae")
    assert other.settings.stages == () and other.model == {"name": "conv-ae"}


def test_option_texts_are_checked():
    assert parse_loss_weights(["a=2", "b = 0.5"]) == {"a": 2.0, "b": 0.5}
    assert parse_numbers("none", "--stages", int) == ()
    assert parse_numbers("3,4", "--stages", int) == (3, 4)
    with pytest.raises(UsageError, match="--loss-weight 'a' is not term=number"):
        parse_loss_weights(["a"])
    with pytest.raises(UsageError, match="--stage-rates '1,x'"):
        parse_numbers("1,x", "--stage-rates", float)
    with pytest.raises(UsageError, match="no term 'l1' to weigh"):
        make_plan(model="pix2pix", edges=True, loss_weights={"l1": 1.0})
