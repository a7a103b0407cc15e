"""Colorize by the real command: every readable picture right, every other one named."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aetool.errors import FormatError, OutputError, UsageError
from aetool.images.chroma import ab_to_chroma, join
from aetool.images.color import ab_bins, annealed_mean, rgb_to_lab
from aetool.inference.load import rebuild
from aetool.storage.atomic import locked
from aetool.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from aetool.tasks.colorize import colorize_images
from aetool.tasks.colors import AbBins, Decoder

WEIGHTS = np.array([0.299, 0.587, 0.114])
ORANGE = np.array([0.7, 0.5, 0.3])  # what the tiny model sees everywhere
RGB_OUTPUT = {"name": "reconstruction", "range": [0, 1], "decoding": "rgb"}
ORANGE_CHROMA = (ORANGE - ORANGE @ WEIGHTS)[::2].astype(np.float32)


def write_colorizer(
    path: Path,
    *,
    output: dict,
    outputs: int = 3,
    activation: str = "sigmoid",
    bias: np.ndarray | float = 0.0,
    task: str = "colorize",
    ab_weights: np.ndarray | None = None,
) -> Path:
    """A small U-Net whose last layer has no weights but a bias, so that its answer is known."""
    from aetool.models.build import build_model, complete, keras_config, layer_weights

    spec = complete(
        {
            "name": "unet",
            "size": (32, 32),
            "channels": 1,
            "outputs": outputs,
            "widths": (4,),
            "middle": 4,
            "activation": activation,
        }
    )
    weights = layer_weights(build_model(spec))
    kernel, offset = weights[output["name"]]
    weights[output["name"]][kernel][:] = 0
    weights[output["name"]][offset][:] = bias
    metadata = {
        "model": spec,
        "task": task,
        "preprocessing": {
            "size": [32, 32],
            "channels": 1,
            "range": [0, 1],
            "fit": "stretch",
            "background": 1.0,
        },
        "output": [output],
        "classes": [],
        "training": {},
        "metrics": {},
        "calibration": None,
    }
    arrays = {"ab_bins": ab_bins()} if output["decoding"] == "ab-bins" else {}
    if ab_weights is not None:
        arrays["ab_weights"] = ab_weights
    write_checkpoint(path, Checkpoint(metadata, keras_config(spec), weights, arrays))
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory) -> Path:
    """A colorizer that finds everything orange."""
    return write_colorizer(
        tmp_path_factory.mktemp("colorizer") / "orange.h5",
        bias=np.log(ORANGE / (1 - ORANGE)),
        output=RGB_OUTPUT,
    )


def ramp(height: int, width: int, top: int = 255) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    values = (rows / height + columns / width) / 2 * top
    return values.astype(np.uint8 if top == 255 else np.uint16)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> None:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def orange(grey: np.ndarray) -> np.ndarray:
    """What the tiny model makes of a grey picture."""
    return join(grey, np.broadcast_to(ORANGE_CHROMA, (32, 32, 2)))


def levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture
def odd_files(tmp_path) -> tuple[Path, set[str]]:
    """A folder of 20 readable odd pictures and five that are none; the names of the five."""
    folder = tmp_path / "odd files"
    (folder / "sub").mkdir(parents=True)
    grey = ramp(40, 60)
    save(folder / "plain.jpg", grey, quality=95)
    save(folder / "progressive.JPG", grey, quality=95, progressive=True)
    save(folder / "deep.png", ramp(40, 60, 65535))
    save(folder / "deep.tif", ramp(40, 60, 65535))
    Image.fromarray(grey.astype(np.float32) / 255).save(folder / "float.tif")
    save(folder / "cmyk.jpg", np.stack([grey] * 3, -1), "CMYK", quality=95)
    palette = Image.fromarray(grey).convert("P")
    palette.save(folder / "palette.png", transparency=0)
    alpha = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    alpha[:10, :, 3] = 0
    save(folder / "alpha.png", alpha)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Rolleiflex"
    save(folder / "rotated.jpg", grey, quality=95, exif=exif, dpi=(300, 300))
    Image.fromarray(grey > 100).save(folder / "one bit.tif")
    second_page = {"save_all": True, "append_images": [Image.new("L", (60, 40))]}
    save(folder / "sub" / "animation.gif", grey, **second_page)
    save(folder / "pages.tif", grey, **second_page)
    save(folder / "bitmap.bmp", grey)
    save(folder / "modern.webp", np.stack([grey] * 3, -1), lossless=True)
    save(folder / 'it\'s "quoted".png', grey)
    save(folder / "two\nlines.png", grey)
    save(folder / "Ünïcödé 写真.png", grey)
    save(Path(os.fsdecode(os.fsencode(folder) + b"/bytes \xff.png")), grey)
    save(folder / "dot.png", grey[:1, :1])
    save(folder / "large.png", ramp(1200, 900))
    whole = BytesIO()
    Image.fromarray(ramp(200, 200)).save(whole, "JPEG")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no picture at all")
    (folder / "zeros.tif").write_bytes(bytes(1000))
    save(folder / "cut.png", ramp(200, 200))
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-300])
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder, {"truncated.jpg", "empty.jpg", "text.png", "zeros.tif", "cut.png"}


def test_odd_files(aetool, colorizer, odd_files, tmp_path):
    folder, unreadable = odd_files
    out = tmp_path / "out"
    first = aetool("colorize", folder, out, "-c", colorizer, "--precision", "float32", "--json")
    assert first.status == 1
    result = first.json
    assert {failure["path"] for failure in result["failed"]} == unreadable
    assert all(failure["reason"] for failure in result["failed"])
    assert all(name in first.stderr for name in unreadable)
    assert "2 pictures have several pages" in first.stderr
    counts = [result[key] for key in ("read", "written", "skipped")]
    assert counts == [20, 20, 0]
    assert len([path for path in out.rglob("*") if path.is_file()]) == 20

    grey = ramp(40, 60)
    expected = orange(grey).astype(int)
    for name in ('it\'s "quoted".png', "two\nlines.png", "Ünïcödé 写真.png", "bitmap.bmp"):
        assert np.abs(levels(out / name) - expected).max() <= 1, name
    for name in ("modern.webp", "pages.tif", "sub/animation.gif.png"):
        assert np.abs(levels(out / name) - expected).max() <= 1, name
    for name in ("float.tif", "deep.tif", "deep.png"):  # finer greys than `grey` has
        assert np.abs(levels(out / name) - expected).max() <= 3, name
    for name in ("plain.jpg", "progressive.JPG"):
        assert np.abs(levels(out / name) @ WEIGHTS - levels(folder / name)[..., 0]).max() <= 2, name
        assert np.abs(levels(out / name) - expected).mean() < 2, name
    for name in ("one bit.tif", "palette.png"):
        before = np.asarray(Image.open(folder / name).convert("RGBA").convert("L"))
        visible = before[12:].astype(int)
        assert np.abs(levels(out / name)[12:] @ WEIGHTS - visible).max() <= 2, name
    assert (levels(out / "alpha.png")[:10] == 255).all()
    turned = Image.open(out / "rotated.jpg")
    assert turned.size == (40, 60)
    assert np.abs(levels(out / "rotated.jpg") - np.rot90(expected, -1)).mean() < 2
    assert turned.getexif()[0x0112] == 1
    assert turned.getexif()[0x010F] == "Rolleiflex"
    assert turned.info["dpi"] == (300, 300)
    assert "icc_profile" in turned.info
    assert levels(out / "large.png").shape == (1200, 900, 3)
    assert np.abs(levels(out / "large.png") - orange(ramp(1200, 900))).max() <= 1


def test_sixteen_bits_stay_sixteen(aetool, colorizer, tmp_path):
    import tifffile

    deep = ramp(40, 60, 65535)
    save(tmp_path / "deep.tif", deep)
    options = ("-c", colorizer, "--precision", "float32")
    done = aetool("colorize", tmp_path / "deep.tif", tmp_path / "out", *options)
    assert done.status == 0, done.stderr
    pixels = tifffile.imread(tmp_path / "out" / "deep.tif")
    assert pixels.dtype == np.uint16
    assert np.abs(pixels.astype(float) - orange(deep)).max() <= 2
    assert np.abs(pixels @ WEIGHTS - deep).max() <= 1


def test_a_second_run_does_nothing_without_tensorflow(colorizer, odd_files, tmp_path):
    folder, unreadable = odd_files
    out = tmp_path / "out"
    first = colorize_images(str(folder), out, checkpoint=colorizer)
    assert (first.written, len(first.failed)) == (20, 5)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    arguments = ["colorize", str(folder), str(out), "-c", str(colorizer), "-q"]
    program = (
        "import sys; from aetool.cli.app import run; status = run(sys.argv[1:]);"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules))); sys.exit(status)"
    )
    second = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert second.stdout == "[]\n"
    assert all(name in second.stderr for name in unreadable)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before

    save(folder / "sub" / "new.png", ramp(30, 30))
    third = colorize_images(str(folder), out, checkpoint=colorizer)
    assert (third.read, third.written, third.skipped, len(third.failed)) == (1, 1, 20, 5)
    os.utime(folder / "plain.jpg")  # an input newer than its result
    assert colorize_images(str(folder), out, checkpoint=colorizer).written == 1
    assert colorize_images(str(folder), out, checkpoint=colorizer, overwrite=True).written == 21


def test_ab_values_are_decoded_by_their_scale(tmp_path):
    checkpoint = write_colorizer(
        tmp_path / "teal.h5",
        outputs=2,
        activation="linear",
        bias=np.array([-0.2, -0.1]),
        output={"name": "ab", "decoding": "ab", "scale": 100},
    )
    save(tmp_path / "grey.png", np.full((50, 80), 120, np.uint8))
    colorize_images(str(tmp_path / "grey.png"), tmp_path / "out.png", checkpoint=checkpoint)
    lab = rgb_to_lab(levels(tmp_path / "out.png")[25, 40] / 255)
    assert np.abs(lab[1:] - [-20, -10]).max() < 1.5


def test_ab_bins_are_decoded_by_the_annealed_mean(tmp_path):
    bins = ab_bins()
    teal = int(np.flatnonzero((bins == [-20, -10]).all(axis=1))[0])
    checkpoint = write_colorizer(
        tmp_path / "teal.h5",
        outputs=len(bins),
        activation="softmax",
        bias=np.where(np.arange(len(bins)) == teal, 20, 0),
        output={"name": "ab_probabilities", "decoding": "ab-bins", "temperature": 0.38},
    )
    save(tmp_path / "grey.png", np.full((50, 80), 120, np.uint8))
    colorize_images(str(tmp_path / "grey.png"), tmp_path / "out.png", checkpoint=checkpoint)
    red, green, blue = levels(tmp_path / "out.png")[25, 40]
    lab = rgb_to_lab(np.array([red, green, blue]) / 255)
    assert np.abs(lab[1:] - [-20, -10]).max() < 1.5
    assert abs(np.array([red, green, blue]) @ WEIGHTS - 120) <= 1


@pytest.mark.parametrize("decoding", [{}, {"rebalancing": 1}, {"rebalancing": 0.5}])
@pytest.mark.parametrize("temperature", [1, 0.38])
def test_the_network_anneals_what_it_finds(tmp_path, decoding, temperature):
    """Prepared, a network's mean colour is the annealed mean of what it finds otherwise."""
    bins, random = ab_bins(), np.random.default_rng(0)
    weights = np.exp(random.normal(size=len(bins))).astype(np.float32)
    output = {"name": "ab_probabilities", "decoding": "ab-bins", "temperature": temperature}
    path = write_colorizer(
        tmp_path / "m.h5",
        outputs=len(bins),
        activation="softmax",
        bias=random.normal(size=len(bins)) * 3,
        output={**output, **decoding},
        ab_weights=weights,
    )
    grey = ramp(32, 32)
    stored = read_checkpoint(path)
    model = rebuild(stored).model
    inputs = (grey / np.float32(255))[None, ..., None]
    found = np.asarray(model(inputs))[0]
    power = decoding.get("rebalancing")
    expected = annealed_mean(found, bins, temperature, weights**power if power else None)
    decoder = Decoder(path, stored)
    outputs = decoder.prepare(model)(inputs)
    chroma, _ = decoder.chroma({name: np.asarray(y)[0] for name, y in outputs.items()}, grey)
    assert np.abs(chroma - ab_to_chroma(expected, inputs[0, ..., 0])).max() < 1e-5


def test_the_weights_of_training_are_taken_back():
    """Of two colours, the one that weighed 100 times as much is found 100 times as likely."""
    weights = np.array([1, 100], np.float32)
    bins = AbBins(np.float32([[-20, 0], [20, 0]]), 1, weights)
    kernel, bias = bins.anneal(np.ones((1, 1, 3, 2), np.float32), np.log(weights / 101))
    np.testing.assert_array_equal(kernel, 1)
    np.testing.assert_allclose(bias, np.log(1 / 101), rtol=1e-6)


def test_saturation_of_the_output_multiplies_its_colours():
    output = {"name": "ab", "decoding": "ab", "scale": 100}
    grey, values = np.full((50, 80), 120, np.uint8), np.full((4, 4, 2), 0.2, np.float32)

    def redness(**more):
        metadata = {"task": "colorize", "preprocessing": {"size": [16, 16]}}
        metadata["output"] = [{**output, **more}]
        decoder = Decoder(Path("m.h5"), Checkpoint(metadata, "", {}, {}))
        return decoder.chroma({"ab": values}, grey)[0][2, 2, 0]

    assert redness() > 0.05
    assert redness(saturation=1.5) == pytest.approx(1.5 * redness())


def test_an_output_that_the_network_has_not_is_refused(aetool, tmp_path):
    path = write_colorizer(tmp_path / "m.h5", output=RGB_OUTPUT)
    stored = read_checkpoint(path)
    stored.metadata["output"][0]["name"] = "elsewhere"
    write_checkpoint(path, stored)
    save(tmp_path / "grey.png", np.full((50, 80), 120, np.uint8))
    done = aetool("colorize", tmp_path / "grey.png", tmp_path / "out.png", "-c", path)
    assert done.status == 1 and "has no output 'elsewhere'" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_bins_without_a_distribution_are_refused(aetool, tmp_path):
    path = write_colorizer(
        tmp_path / "m.h5",
        bias=np.zeros(3),
        output={"name": "reconstruction", "decoding": "ab-bins", "temperature": 1},
    )
    save(tmp_path / "grey.png", np.full((50, 80), 120, np.uint8))
    done = aetool("colorize", tmp_path / "grey.png", tmp_path / "out.png", "-c", path)
    assert done.status == 1 and "no distribution over ab bins" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_saturation_multiplies_what_the_model_states(aetool, tmp_path):
    strong = write_colorizer(
        tmp_path / "strong.h5",
        bias=np.log(ORANGE / (1 - ORANGE)),
        output={**RGB_OUTPUT, "saturation": 0.5},
    )
    grey = np.full((50, 80), 120, np.uint8)
    save(tmp_path / "grey.png", grey)
    out = tmp_path / "out.png"
    words = ("-c", strong, "--vivid", "--saturation", 2)
    assert aetool("colorize", tmp_path / "grey.png", out, *words).status == 0
    expected = join(grey, np.broadcast_to(ORANGE_CHROMA, (32, 32, 2)), 1.3)
    assert np.abs(levels(out) - expected).max() <= 2


def test_the_network_sees_as_many_pixels_as_asked_for(aetool, colorizer, tmp_path):
    grey = ramp(90, 120)
    save(tmp_path / "grey.png", grey)
    words = ("colorize", tmp_path / "grey.png", tmp_path / "out.png", "-c", colorizer)
    done = aetool(*words, "--render-size", 48)
    assert done.status == 0, done.stderr
    assert np.abs(levels(tmp_path / "out.png") - orange(grey)).max() <= 2
    stored = read_checkpoint(colorizer)
    assert Decoder(colorizer, stored, 48).size == (48, 48)
    for size in (31, 1025):
        with pytest.raises(UsageError, match="not between 32 and 1024"):
            Decoder(colorizer, stored, size)


def test_a_sheet_shows_grey_above_colour_above_truth(colorizer, tmp_path):
    (tmp_path / "in").mkdir()
    grey = ramp(64, 64)
    for i in range(3):
        save(tmp_path / "in" / f"{i}.png", grey)
    sheet = tmp_path / "sheet.png"
    result = colorize_images(str(tmp_path / "in"), None, checkpoint=colorizer, grid=sheet)
    assert (result.read, result.written) == (3, 0)
    size = levels(sheet).shape
    assert (np.ptp(levels(sheet)[: size[0] // 2], axis=-1) == 0).all()
    assert np.ptp(levels(sheet)[size[0] // 2 :], axis=-1).max() > 60

    save(tmp_path / "in" / "1.png", orange(grey))  # one print in sepia is no truth
    colorize_images(str(tmp_path / "in"), None, checkpoint=colorizer, grid=sheet)
    assert levels(sheet).shape == size
    save(tmp_path / "in" / "2.png", orange(grey))
    out = tmp_path / "out"
    result = colorize_images(str(tmp_path / "in"), out, checkpoint=colorizer, grid=sheet)
    assert (result.read, result.written) == (3, 3)
    assert levels(sheet).shape[0] == pytest.approx(size[0] * 1.5, abs=4)
    before = sheet.read_bytes()
    sheet.unlink()
    again = colorize_images(str(tmp_path / "in"), out, checkpoint=colorizer, grid=sheet)
    assert (again.read, again.written, again.skipped) == (0, 0, 3)
    assert sheet.read_bytes() == before

    (tmp_path / "in" / "broken.png").write_bytes(b"nothing")
    drawn = sheet.stat().st_mtime_ns
    third = colorize_images(str(tmp_path / "in"), out, checkpoint=colorizer, grid=sheet)
    assert (third.written, third.skipped, len(third.failed)) == (0, 3, 1)
    assert sheet.stat().st_mtime_ns == drawn


def test_one_picture_through_standard_input_and_output(aetool, colorizer):
    data = BytesIO()
    Image.fromarray(ramp(40, 60)).save(data, "PNG")
    done = aetool("colorize", "-", "-", "-c", colorizer, stdin=data.getvalue())
    assert done.status == 0, done.stderr
    image = Image.open(BytesIO(done.stdout))
    assert image.format == "PNG"
    assert np.abs(np.asarray(image).astype(int) - orange(ramp(40, 60))).max() <= 2  # bfloat16
    assert aetool("colorize", "-", "-", "--json", stdin=data.getvalue()).status == 2


def test_evaluate_takes_the_inputs_colours_as_the_truth(aetool, colorizer, tmp_path):
    grey = ramp(64, 64)
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "orange.png", orange(grey))
    save(tmp_path / "in" / "grey.png", grey)
    strips = tmp_path / "strips"
    command = ("colorize", tmp_path / "in", "--evaluate", "-c", colorizer, "--json")
    done = aetool(*command, "--compare", strips, "--precision", "float32")
    assert done.status == 0, done.stderr
    result = done.json
    assert (result["read"], result["written"]) == (2, 0)
    assert result["psnr"] > 45  # the model's very colour: only rounding is left
    assert 10 < result["psnr_grey"] < 30
    assert result["colorfulness"] == pytest.approx(result["colorfulness_true"], rel=0.02)
    assert Image.open(strips / "orange.png").size == (3 * 64, 64)
    assert Image.open(strips / "grey.png").size == (2 * 64, 64)
    strip = levels(strips / "orange.png")
    assert (np.ptp(strip[:, :64], axis=-1) == 0).all()
    assert np.abs(strip[:, 64:128] - strip[:, 128:]).max() <= 3

    (strips / "grey.png").unlink()
    coloured = ["colorize", tmp_path / "in", tmp_path / "out", "-c", colorizer, "--json"]
    assert aetool(*coloured).json["written"] == 2
    assert aetool(*coloured, "--compare", strips).json["skipped"] == 1
    assert (strips / "grey.png").exists()
    assert aetool(*coloured, "--compare", strips).json["skipped"] == 2
    for command_of_pictures in ("colorize", "reconstruct", "translate"):
        out = tmp_path / command_of_pictures
        words = ("-c", colorizer, "--grid", tmp_path / "grid.xyz")
        wrong = aetool(command_of_pictures, tmp_path / "in", out, *words)
        assert wrong.status == 2
        assert f"{tmp_path / 'grid.xyz'} is no name of a picture" in wrong.stderr
        assert not out.exists()

    dull = aetool(*command, "--saturation", "0")
    assert dull.json["psnr"] == pytest.approx(dull.json["psnr_grey"], abs=0.1)
    assert dull.json["colorfulness"] < 0.5
    assert dull.json["bleeding"] == 0 < result["bleeding"]
    assert result["bleeding"] == pytest.approx(result["bleeding_true"], abs=0.1)
    assert result["seconds_per_picture"] == pytest.approx(result["seconds"] / 2)
    (tmp_path / "in" / "orange.png").unlink()
    assert aetool(*command).json["psnr"] is None


def test_two_inputs_never_share_a_result(colorizer, tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.gif", ramp(20, 20))
    save(tmp_path / "in" / "a.gif.png", ramp(30, 30))
    result = colorize_images(str(tmp_path / "in"), tmp_path / "out", checkpoint=colorizer)
    assert result.written == 1
    assert [failure.path for failure in result.failed] == ["a.gif"]
    assert levels(tmp_path / "out" / "a.gif.png").shape == (30, 30, 3)


def test_a_result_never_replaces_its_input(colorizer, tmp_path):
    save(tmp_path / "a.png", ramp(20, 20))
    before = (tmp_path / "a.png").read_bytes()
    for out in (tmp_path, tmp_path / "a.png"):
        result = colorize_images(str(tmp_path / "a.png"), out, checkpoint=colorizer)
        assert (result.written, len(result.failed)) == (0, 1)
    assert (tmp_path / "a.png").read_bytes() == before


def test_overlapping_runs_on_one_out_refuse_each_other(colorizer, photos, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another run"):
        colorize_images(str(photos), tmp_path / "out", checkpoint=colorizer)
    assert not (tmp_path / "out").exists()


def test_refusals(aetool, colorizer, photos, tmp_path):
    autoencoder = write_colorizer(tmp_path / "m.h5", output=RGB_OUTPUT, task="reconstruct")
    with pytest.raises(FormatError, match="no colorizer"):
        colorize_images(str(photos), tmp_path / "out", checkpoint=autoencoder)
    with pytest.raises(UsageError, match="OUT"):
        colorize_images(str(photos), None, checkpoint=colorizer)
    with pytest.raises(UsageError, match="one picture"):
        colorize_images(str(photos), tmp_path / "out.png", checkpoint=colorizer)
    with pytest.raises(UsageError, match="saturation"):
        colorize_images(str(photos), tmp_path, checkpoint=colorizer, saturation=float("nan"))
    with pytest.raises(UsageError, match="inside SOURCE"):
        colorize_images(str(photos), None, checkpoint=colorizer, compare=photos / "strips")
    (tmp_path / "file").touch()
    assert aetool("colorize", photos, tmp_path / "file", "-c", colorizer).status == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(aetool, colorizer, photos, tmp_path, monkeypatch):
    def save_to_full_disk(path, *arguments, **options):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"picture")

    monkeypatch.setattr("aetool.tasks.outputs.save_picture", save_to_full_disk)
    done = aetool("colorize", photos, tmp_path / "out", "-c", colorizer, "-q")
    assert done.status == 1
    assert "no space left on device" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
