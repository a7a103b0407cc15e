"""aetool cluster, end to end: table, scores, sheets, and what it refuses."""

import base64
import builtins
import csv
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aetool.plots.sheets import GAP, MISSING, TILE
from aetool.storage.latents import LatentsWriter

CLASSES = ("bird", "cat", "dog")
KEYS = [
    "k",
    "k_choice",
    "method",
    "repeats",
    "cluster_sizes",
    "outliers",
    "silhouette",
    "purity_mean",
    "purity_std",
    "accuracy_mean",
    "nmi_mean",
    "ari_mean",
    "failed",
    "seconds",
]


@pytest.fixture
def animals(tmp_path) -> tuple[Path, Path]:
    """Twelve latents of three clear kinds, and the pictures they came from: one colour each."""
    root = tmp_path / "animals"
    names, labels, features = [], [], []
    for number in range(12):
        label = number % 3
        name = f"{CLASSES[label]}/a {number}.png"
        names.append(name)
        labels.append(label)
        # The higher the number, the further from its kind's middle.
        features.append([10.0 * label, 0.1 * number * (-1) ** (number // 3)])
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(root / name)
    latents = tmp_path / "latents.h5"
    settings = {"source": str(root), "class_names": CLASSES}
    with LatentsWriter(latents, dimensions=2, feature_shape=(2,), **settings) as writer:
        writer.append(np.array(features), range(12), names, labels)
    return latents, root


def table(text: str) -> tuple[list[str], list[list[str]]]:
    rows = list(csv.reader(io.StringIO(text)))
    return rows[0], rows[1:]


def test_rows_come_in_input_order_with_cluster_and_distance(aetool, animals):
    done = aetool("cluster", animals[0], "-k", 3, "-q")
    assert done.status == 0, done.stderr
    header, rows = table(done.text)
    assert header == ["path", "label", "cluster", "distance"]
    assert [row[0] for row in rows] == [f"{CLASSES[n % 3]}/a {n}.png" for n in range(12)]
    assert [row[1] for row in rows] == [CLASSES[n % 3] for n in range(12)]
    assert [row[2] for row in rows] == [str(n % 3) for n in range(12)]
    points = np.array([0.1 * n * (-1) ** (n // 3) for n in range(0, 12, 3)])
    expected = np.abs(points - points.mean())
    assert np.allclose([float(row[3]) for row in rows[::3]], expected, atol=1e-5)


def test_json_scores_clusters_against_labels(aetool, animals, tmp_path):
    done = aetool("cluster", animals[0], "-k", 3, "-o", tmp_path / "c.csv", "--json")
    assert done.status == 0, done.stderr
    found = done.json
    assert list(found) == KEYS
    assert found["cluster_sizes"] == [4, 4, 4]
    assert found["k"] == 3
    assert found["method"] == "kmeans"
    assert found["repeats"] == 1
    assert found["silhouette"] > 0.9
    assert found["purity_std"] == 0
    for key in ("purity_mean", "accuracy_mean", "nmi_mean", "ari_mean"):
        assert found[key] == pytest.approx(1)


def test_scores_are_null_without_labels(aetool, tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(30, 3)))
    done = aetool("cluster", tmp_path / "rows.npy", "-k", 1, "-o", tmp_path / "c.csv", "--json")
    assert done.status == 0, done.stderr
    empty = ("silhouette", "purity_mean", "purity_std", "accuracy_mean", "nmi_mean", "ari_mean")
    assert [done.json[key] for key in empty] == [None] * 6
    _, rows = table((tmp_path / "c.csv").read_text())
    assert {row[1] for row in rows} == {""}


def test_repeats_are_scored_together(aetool, tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=random.uniform(size=(300, 2)), y=np.arange(300) % 4)
    done = aetool(
        "cluster",
        tmp_path / "rows.npz",
        "-k",
        11,
        "--method",
        "kmeans",
        "--repeats",
        4,
        "-o",
        tmp_path / "c.csv",
        "--json",
    )
    assert done.status == 0, done.stderr
    assert done.json["repeats"] == 4
    assert done.json["purity_std"] > 0
    assert sum(done.json["cluster_sizes"]) == 300


def test_the_same_seed_gives_the_same_bytes_from_a_file_and_from_a_pipe(aetool, tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "latents.h5"
    with LatentsWriter(path, dimensions=4, feature_shape=(4,), source="x") as writer:
        writer.append(random.normal(size=(200, 4)), range(200), [str(n) for n in range(200)])
    first = aetool("cluster", path, "-k", 7, "--seed", 5, "-q")
    piped = aetool("cluster", "-", "-k", 7, "--seed", 5, "-q", stdin=path.read_bytes())
    assert first.status == piped.status == 0, piped.stderr
    assert first.stdout == piped.stdout
    assert first.stdout != aetool("cluster", path, "-k", 7, "--seed", 6, "-q").stdout


@pytest.mark.parametrize("method", ["kmeans", "gmm", "manifold"])
def test_several_files_are_clustered_as_one(method, aetool, tmp_path):
    random = np.random.default_rng(1)
    rows = (random.normal(size=(120, 4)) + 9 * (np.arange(120) % 3)[:, None]).astype("f4")
    names = [f"{n}.png" for n in range(120)]

    def write(name, part):
        about = {"dimensions": 4, "feature_shape": (4,), "source": "/p", "class_names": CLASSES}
        with LatentsWriter(tmp_path / name, **about) as writer:
            index = np.arange(120)[part]
            writer.append(rows[part], index, names[part], index % 3)
        return tmp_path / name

    whole = write("whole.h5", slice(0, 120))
    files = [write(f"{n}.h5", slice(50 * n, 50 * n + 50)) for n in range(3)]
    (tmp_path / "files.txt").write_text("".join(f"{path}\n" for path in files))
    words = ["-k", 3, "--method", method]
    expected = aetool("cluster", whole, *words, "-o", tmp_path / "whole.csv", "--json")
    assert expected.status == 0 and expected.json["purity_mean"] == 1
    for several in (files, [f"@{tmp_path / 'files.txt'}"]):
        done = aetool("cluster", *several, *words, "-o", tmp_path / "c.csv", "--json")
        assert done.status == 0
        assert done.json | {"seconds": expected.json["seconds"]} == expected.json
        assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_sheets_show_the_nearest_first(aetool, animals, tmp_path):
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    (sheets / "cluster-07.png").touch()  # of an earlier run with more clusters
    (sheets / "mine.png").touch()
    output = tmp_path / "c.csv"
    done = aetool("cluster", animals[0], "-k", 3, "-o", output, "--sheets", sheets, "-q")
    assert done.status == 0, done.stderr
    names = ["cluster-00.png", "cluster-01.png", "cluster-02.png", "mine.png"]
    assert sorted(path.name for path in sheets.iterdir()) == names
    _, rows = table(output.read_text())
    nearest = sorted((row for row in rows if row[2] == "0"), key=lambda row: float(row[3]))
    with Image.open(sheets / "cluster-00.png") as sheet:
        pixels = np.asarray(sheet)
    middles = [GAP + TILE // 2 + n * (TILE + GAP) for n in range(4)]
    reds = [20 * int(row[0].split()[1].removesuffix(".png")) for row in nearest]
    assert pixels[GAP + TILE // 2, middles, 0].tolist() == reds


def test_a_picture_that_is_gone_is_reported_and_left_grey(aetool, animals, tmp_path):
    latents, root = animals
    (root / "bird" / "a 0.png").unlink()
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--sheets", tmp_path / "s", "--json"]
    done = aetool("cluster", latents, *words)
    assert done.status == 1
    assert [failure["path"] for failure in done.json["failed"]] == ["bird/a 0.png"]
    with Image.open(tmp_path / "s" / "cluster-00.png") as sheet:
        assert (np.asarray(sheet) == MISSING).all(axis=2).sum() == TILE * TILE
    assert aetool("cluster", latents, *words, "--allow-failures", 1).status == 0


def test_a_picture_that_is_gone_is_reported_by_plot_and_page_too(aetool, animals, tmp_path):
    latents, root = animals
    (root / "bird" / "a 0.png").unlink()
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--html", tmp_path / "p.html", "--json"]
    for command in (["cluster", latents, *words], ["pca", latents, *words[2:]]):
        done = aetool(*command)
        assert done.status == 1
        assert [failure["path"] for failure in done.json["failed"]] == ["bird/a 0.png"]
        assert (tmp_path / "p.html").exists()
        assert aetool(*command, "--allow-failures", 1).status == 0


def test_pictures_that_moved_are_found_by_name(aetool, animals, tmp_path):
    latents, root = animals
    moved = root.rename(tmp_path / "moved")
    Image.new("RGB", (4, 4)).save(moved / "bird" / "a -1.png")  # shifts every position
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--sheets", tmp_path / "s", "-q"]
    refused = aetool("cluster", latents, *words)
    assert refused.status == 1
    assert "--images" in refused.stderr
    assert not (tmp_path / "c.csv").exists()
    done = aetool("cluster", latents, *words, "--images", moved)
    assert done.status == 0, done.stderr
    assert len(list((tmp_path / "s").glob("*.png"))) == 3


def clusters_of(text: str) -> np.ndarray:
    header, rows = table(text)
    return np.array([int(row[header.index("cluster")]) for row in rows])


def test_the_default_finds_what_neighbours_tell_apart(aetool, tmp_path):
    random = np.random.default_rng(1)
    kind = np.arange(300) % 3
    along = random.uniform(0, 30, 300)  # three long parallel strips: k-means would cut across
    np.savez(tmp_path / "strips.npz", x=np.column_stack((along, 4.0 * kind)), y=kind)
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--json"]
    done = aetool("cluster", tmp_path / "strips.npz", *words)
    assert done.status == 0, done.stderr
    assert done.json["method"] == "manifold"
    assert done.json["purity_mean"] > 0.95
    plain = aetool("cluster", tmp_path / "strips.npz", *words, "--method", "kmeans")
    assert plain.json["purity_mean"] < 0.8


@pytest.mark.parametrize(
    ("method", "width"), [("manifold", 6), ("manifold", 60), ("gmm", 6), ("kmeans", 6)]
)
def test_a_clustering_is_found_again_in_new_rows(method, width, aetool, tmp_path):
    random = np.random.default_rng(2)
    kind = np.arange(320) % 4
    points = np.eye(width)[kind] * 9 + random.normal(size=(320, width))
    np.savez(tmp_path / "old.npz", x=points[:200], y=kind[:200])
    np.savez(tmp_path / "new.npz", x=points[200:], y=kind[200:])
    words = ["-k", 4, "--method", method, "--save", tmp_path / "c.h5", "-q"]
    found = aetool("cluster", tmp_path / "old.npz", *words)
    assert found.status == 0, found.stderr
    again = aetool("cluster", tmp_path / "old.npz", "--apply", tmp_path / "c.h5", "-q")
    assert np.array_equal(clusters_of(again.text), clusters_of(found.text))
    words = ["--apply", tmp_path / "c.h5", "-o", tmp_path / "new.csv", "--json"]
    new = aetool("cluster", tmp_path / "new.npz", *words)
    assert new.status == 0, new.stderr
    assert new.json["method"] == method
    assert new.json["k"] == 4
    assert new.json["purity_mean"] == 1
    np.save(tmp_path / "one.npy", points[200:201])
    one = aetool("cluster", tmp_path / "one.npy", "--apply", tmp_path / "c.h5", "-q")
    first = clusters_of((tmp_path / "new.csv").read_text())[0]
    assert clusters_of(one.text).tolist() == [first]


def test_a_clustering_refuses_other_rows(aetool, animals, tmp_path):
    saved = tmp_path / "c.h5"
    assert aetool("cluster", animals[0], "-k", 3, "--save", saved, "-q").status == 0
    np.save(tmp_path / "wide.npy", np.zeros((9, 5)))
    wide = aetool("cluster", tmp_path / "wide.npy", "--apply", saved)
    assert wide.status == 1
    assert "rows of 2 numbers" in wide.stderr
    other = tmp_path / "other.h5"
    about = {"feature_shape": (2,), "source": "x", "checkpoint_digest": "ab" * 32}
    with LatentsWriter(other, dimensions=2, **about) as writer:
        writer.append(np.zeros((3, 2)), range(3), list("abc"))
    assert "another encoder" in aetool("cluster", other, "--apply", saved).stderr
    assert "latents, not a clustering" in aetool("cluster", other, "--apply", other).stderr


def test_the_number_of_clusters_is_found(aetool, tmp_path):
    random = np.random.default_rng(3)
    kind = np.arange(360) % 6
    points = random.normal(size=(6, 4))[kind] * 8 + random.normal(size=(360, 4)) * 0.5
    np.save(tmp_path / "rows.npy", points)
    for method in ("manifold", "kmeans"):
        words = ["-k", "auto", "--method", method, "-o", tmp_path / "c.csv", "--json"]
        done = aetool("cluster", tmp_path / "rows.npy", *words)
        assert done.status == 0, done.stderr
        choice = done.json["k_choice"]
        assert done.json["k"] == choice["k"] == 6
        assert choice["measure"] == "silhouette"
        assert choice["low"] <= 6 <= choice["high"]
        assert max(choice["silhouettes"], key=choice["silhouettes"].get) == "6"


def test_probabilities_sum_to_one_and_outliers_are_marked(aetool, tmp_path):
    random = np.random.default_rng(4)
    points = np.repeat([[0.0, 0.0], [9.0, 0.0]], 60, axis=0) + random.normal(size=(120, 2)) * 0.3
    points[7] = (0.0, 4.0)
    np.save(tmp_path / "rows.npy", points)
    words = ["-k", 2, "--method", "gmm", "--probabilities", "--outliers", "-q"]
    done = aetool("cluster", tmp_path / "rows.npy", *words)
    assert done.status == 0, done.stderr
    header, rows = table(done.text)
    assert header == ["path", "label", "cluster", "distance", "outlier", "p0", "p1"]
    shares = np.array([row[5:] for row in rows], dtype=float)
    assert np.allclose(shares.sum(axis=1), 1)
    assert shares.argmax(axis=1).tolist() == [int(row[2]) for row in rows]
    assert [number for number, row in enumerate(rows) if row[4] == "1"] == [7]


def test_pictures_are_sorted_into_folders_and_again_after_a_change(aetool, animals, tmp_path):
    latents, root = animals
    folder = tmp_path / "sorted"
    words = ["-o", tmp_path / "c.csv", "--copy-to", folder, "-q"]
    assert aetool("cluster", latents, "-k", 3, *words).status == 0
    _, rows = table((tmp_path / "c.csv").read_text())
    for name, _, cluster, _ in rows:
        copy = folder / f"cluster-0{cluster}" / name
        assert copy.read_bytes() == (root / name).read_bytes()
    before = {path: path.stat().st_ino for path in folder.rglob("*.png")}
    assert len(before) == 12
    assert aetool("cluster", latents, "-k", 3, *words).status == 0
    assert {path: path.stat().st_ino for path in folder.rglob("*.png")} == before
    assert aetool("cluster", latents, "-k", 1, *words, "--copy-as", "link").status == 0
    links = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).parts[0] for path in links} == {"cluster-00"}
    assert len(links) == 12
    words += ["--copy-as", "symlink"]
    assert aetool("cluster", latents, "-k", 1, *words).status == 0
    assert all(path.is_symlink() and path.exists() for path in links)


def test_a_picture_that_cannot_be_read_stops_no_copy(aetool, animals, tmp_path, monkeypatch):
    latents, root = animals
    opened = builtins.open

    def refuse(path, *args, **kwargs):
        if str(path) == str(sorted(root.rglob("*.png"))[0]) and args == ("rb",):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    folder = tmp_path / "sorted"
    words = ["-o", tmp_path / "c.csv", "--copy-to", folder, "--json"]
    done = aetool("cluster", latents, "-k", 3, *words)
    assert done.status == 1
    assert [failure["reason"] for failure in done.json["failed"]] == ["permission denied"]
    assert len(list(folder.rglob("*.png"))) == 11


def test_a_name_that_leads_out_of_the_folder_is_refused(aetool, tmp_path):
    root = tmp_path / "in" / "root"
    root.mkdir(parents=True)
    for place in (root / "a.png", tmp_path / "in" / "b.png"):
        Image.new("RGB", (4, 4)).save(place)
    latents = tmp_path / "latents.h5"
    about = {"feature_shape": (1,), "source": str(root)}
    with LatentsWriter(latents, dimensions=1, **about) as writer:
        writer.append(np.zeros((2, 1)), range(2), ["a.png", "../b.png"])
    words = ["-k", 1, "-o", tmp_path / "c.csv", "--copy-to", tmp_path / "in" / "x", "--json"]
    done = aetool("cluster", latents, *words)
    assert done.json["failed"] == [
        {"path": "../b.png", "reason": "its name leads out of the folder"}
    ]
    assert not (tmp_path / "in" / "x" / "b.png").exists()


def test_large_clusters_end_with_their_borderline_pictures(aetool, tmp_path):
    shades = np.linspace(0, 1, 120)
    pictures = np.repeat(shades[:, None, None], 4, axis=1).repeat(4, axis=2)
    np.save(tmp_path / "pictures.npy", np.uint8(np.round(255 * pictures)))
    np.save(tmp_path / "rows.npy", shades[:, None] ** 2)
    words = ["-k", 1, "--method", "kmeans", "-o", tmp_path / "c.csv", "-q"]
    words += ["--sheets", tmp_path, "--images", tmp_path / "pictures.npy"]
    assert aetool("cluster", tmp_path / "rows.npy", *words).status == 0
    _, rows = table((tmp_path / "c.csv").read_text())
    furthest = max(range(120), key=lambda row: float(rows[row][3]))
    with Image.open(tmp_path / "cluster-00.png") as sheet:
        last = np.asarray(sheet)[-GAP - TILE // 2, -GAP - TILE // 2, 0]
    assert last == round(255 * shades[furthest])


def test_the_map_is_drawn_by_cluster_and_by_class(aetool, animals, tmp_path):
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--thumbnails", "-q"]
    for name in ("map.png", "map.svg"):
        assert aetool("cluster", animals[0], *words, "--plot", tmp_path / name).status == 0
    drawing = (tmp_path / "map.svg").read_text()
    assert "by cluster" in drawing
    assert "by class" in drawing
    assert drawing.count("<image") >= 6
    with Image.open(tmp_path / "map.png") as image:
        assert image.width > 1.5 * image.height


def test_the_page_holds_all_it_shows(aetool, animals, tmp_path):
    page = tmp_path / "page.html"
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--html", page, "-q"]
    assert aetool("cluster", animals[0], *words).status == 0
    text = page.read_text(encoding="utf-8")
    start = text.index('type="application/json">') + len('type="application/json">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert [coloring["name"] for coloring in data["colorings"]] == ["cluster", "class"]
    assert data["colorings"][0]["labels"] == [n % 3 for n in range(12)]
    assert data["colorings"][1]["groups"] == list(CLASSES)
    assert data["names"][4] == "cat/a 4.png"
    sprite = Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition(",")[2])))
    row, column = divmod(11, data["columns"])
    middle = ((column + 0.5) * data["tile"], (row + 0.5) * data["tile"])
    assert abs(sprite.getpixel(middle)[0] - 220) < 12
    assert "http" not in text.replace("http-equiv", "")


def test_images_of_another_source_are_refused(aetool, animals, photos, tmp_path):
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--sheets", tmp_path / "s"]
    done = aetool("cluster", animals[0], *words, "--images", photos)
    assert done.status == 1
    assert "bird/a 0.png" in done.stderr


def test_rows_of_a_bare_table_are_the_pictures_in_order(aetool, animals, tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(12.0)[:, None])
    words = ["-k", 2, "-o", tmp_path / "c.csv", "--sheets", tmp_path / "s", "-q"]
    done = aetool("cluster", tmp_path / "rows.npy", *words, "--images", animals[1])
    assert done.status == 0, done.stderr
    assert len(list((tmp_path / "s").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-k", 13], 2, "13 clusters cannot be made of 12 rows"),
        (["-k", 0], 2, "-k"),
        (["-k", "some"], 2, "auto"),
        (["-k", 3, "--apply", "c.h5"], 2, "--apply"),
        (["--probabilities"], 2, "--method gmm"),
        (["-k", 3, "--json"], 2, "standard output"),
        (["-k", 3, "--images", "x"], 2, "--sheets"),
        (["-k", 3, "--thumbnails"], 2, "--plot"),
        (["-k", 3, "--plot", "p.gif"], 2, "p.gif"),
    ],
)
def test_wrong_usage_is_named(aetool, animals, words, status, message):
    done = aetool("cluster", animals[0], *words)
    assert done.status == status
    assert message in done.stderr
    assert not done.stdout


def test_latents_that_cannot_be_clustered_are_named(aetool, tmp_path):
    np.save(tmp_path / "nan.npy", np.array([[0.0, 1.0], [np.nan, 2.0], [3.0, 4.0]]))
    done = aetool("cluster", tmp_path / "nan.npy", "-k", 2)
    assert done.status == 1
    assert "row 2" in done.stderr
    path = tmp_path / "empty.h5"
    with LatentsWriter(path, dimensions=4, feature_shape=(4,), source="x"):
        pass
    words = ["-k", 2, "-o", tmp_path / "c.csv", "--sheets", tmp_path / "s", "--images", tmp_path]
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    done = aetool("cluster", path, *words)
    assert done.status == 1
    assert "no rows" in done.stderr


def test_no_network_library_is_imported_even_for_sheets(animals, tmp_path):
    script = (
        "import json, sys; from aetool.cli.app import run; status = run(sys.argv[1:]);"
        "print(json.dumps([status, [m for m in ('tensorflow', 'keras', 'matplotlib')"
        " if m in sys.modules]]))"
    )
    words = ["-k", "3", "-o", str(tmp_path / "c.csv"), "--sheets", str(tmp_path / "s"), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", script, "cluster", str(animals[0]), *words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e30])
def test_a_value_that_is_no_number_is_one_line(aetool, tmp_path, bad):
    rows = np.random.default_rng(0).random((40, 3))
    rows[[0, 5]] = bad
    np.save(tmp_path / "a.npy", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = aetool("cluster", tmp_path / "a.npy", "-k", "2")
    assert done.status == 1 and "row 1 of the latents" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("how", ["copy", "link", "symlink"])
def test_pictures_are_never_sorted_anew_in_their_own_folder(aetool, animals, tmp_path, how):
    words = ["-k", 3, "-o", tmp_path / "c.csv", "-q", "--copy-as", how]
    folder = tmp_path / "sorted"
    assert aetool("cluster", animals[0], *words, "--copy-to", folder).status == 0
    latents = tmp_path / "one.h5"
    assert aetool("encode", folder / "cluster-00", "--pixels", "-o", latents, "-q").status == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    done = aetool("cluster", latents, "-k", 2, *words[2:], "--copy-to", folder)
    assert done.status == 2
    assert "lies where --copy-to would sort it anew" in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    # Elsewhere they may be split.
    again = aetool("cluster", latents, "-k", 2, *words[2:], "--copy-to", tmp_path / "parts")
    assert again.status == 0, again.stderr


def test_clusters_do_not_replace_their_latents_or_each_other(aetool, animals, tmp_path):
    latents = animals[0]
    before = latents.read_bytes()
    kept = tmp_path / "kept.h5"
    words = ["-k", 3, "-o", tmp_path / "c.csv", "--save", kept]
    assert aetool("cluster", latents, *words).status == 0
    for replacing in (
        ["cluster", latents, "-k", 3, "-o", latents],
        ["cluster", latents, "-k", 3, "--save", tmp_path / "." / latents.name],
        ["cluster", latents, "--apply", kept, "-o", kept],
        ["pca", latents, "-o", latents],
    ):
        done = aetool(*replacing)
        assert done.status == 2, replacing
        assert "its result would replace it" in done.stderr
    twice = aetool("pca", latents, "-o", tmp_path / "p.csv", "--save", tmp_path / "p.csv")
    assert twice.status == 2
    assert "is given for two outputs" in twice.stderr
    assert latents.read_bytes() == before
    assert aetool("info", latents).status == 0
    assert "is a clustering" in aetool("info", kept).stderr


def test_clusters_applied_to_their_own_rows_are_those_that_were_found(aetool, tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 20)) + 2 * random.integers(0, 2, (300, 1))
    np.save(tmp_path / "rows.npy", rows)
    words = ["cluster", tmp_path / "rows.npy", "--probabilities", "-q", "-o"]
    found = aetool(*words, tmp_path / "a.csv", "-k", 4, "--save", tmp_path / "c.h5")
    assert found.status == 0, found.stderr
    assert aetool(*words, tmp_path / "b.csv", "--apply", tmp_path / "c.h5").status == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_rows_that_are_all_the_same_have_no_map(aetool, tmp_path):
    np.save(tmp_path / "same.npy", np.ones((80, 4), np.float32))
    done = aetool("cluster", tmp_path / "same.npy")
    assert done.status == 1 and "all rows of the latents are the same" in done.stderr
    assert aetool("cluster", tmp_path / "same.npy", "-k", 2, "--method", "kmeans").status == 0


def test_copies_of_rows_of_arrays_are_those_of_this_run(aetool, tmp_path):
    """Two arrays name their rows alike; numbers from 0 to 1 are pictures too."""
    noise = np.random.default_rng(0).random((2, 12, 6, 6)).astype(np.float32)
    for number, pictures in enumerate(noise):
        np.save(tmp_path / "pictures.npy", pictures)
        words = ("encode", tmp_path / "pictures.npy", "--pixels", "-o", tmp_path / "l.h5", "-q")
        assert aetool(*words).status == 0
        words = ("cluster", tmp_path / "l.h5", "-k", 2, "--method", "kmeans", "-q")
        for folder in ("again", f"only{number}"):
            copied = ("--copy-to", tmp_path / folder, "-o", tmp_path / "c.csv")
            assert aetool(*words, *copied).status == 0
    again, only = (
        {p.name: p.read_bytes() for p in sorted((tmp_path / folder).rglob("*.png"))}
        for folder in ("again", "only1")
    )
    assert len(only) == 12 and again == only


def test_some_pictures_may_fail_of_all_that_are_shown(aetool, tmp_path):
    for i in range(10):
        Image.new("L", (4, 4), 20 * i).save(tmp_path / f"{i}.png")
    words = ("encode", tmp_path, "--pixels", "-o", tmp_path / "l.h5", "-q")
    assert aetool(*words).status == 0
    (tmp_path / "3.png").unlink()
    words = ("cluster", tmp_path / "l.h5", "-k", 2, "--method", "kmeans", "-o", tmp_path / "c.csv")
    words = (*words, "--copy-to", tmp_path / "copies", "--allow-failures")
    assert aetool(*words, "20%").status == 0
    assert aetool(*words, "5%").status == 1


def test_how_to_copy_needs_a_folder(aetool, tmp_path):
    np.save(tmp_path / "l.npy", np.eye(4, dtype=np.float32))
    done = aetool("cluster", tmp_path / "l.npy", "-k", 2, "--copy-as", "link")
    assert done.status == 2 and "add --copy-to DIR" in done.stderr


def test_several_files_of_equal_rows_are_refused_as_one_is(aetool, tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((40, 5), np.float32))
    done = aetool("cluster", tmp_path / "a.npy", tmp_path / "b.npy", "-k", 2)
    assert done.status == 1 and "all rows of the latents are the same" in done.stderr
