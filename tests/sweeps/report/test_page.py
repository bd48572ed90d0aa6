import base64
import dataclasses
import gzip
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sweeps
from sweeps.axes import scales
from sweeps.diagrams import phases
from sweeps.diagrams.labels import Label, Labelling
from sweeps.report import style
from sweeps.report.page import write_page
from sweeps.report.provenance import SCRIPT
from sweeps.studies import claims

FRACTION, DECAY, MASK = "task.train_fraction", "optimizer.weight_decay", "optimizer.decay_mask"
GRID = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0]}
MASKS = ["all", "matrices", "no_embeddings"]
NAME = "<script>alert(1)</script> $x_1$ $$x^2$$"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def mixed(i, j, seed):
    return None if (i, j) == (2, 2) else ("grokking", "memorisation", "diverged")[i if seed else j]


def embedded(path):
    """The data of the page: a dict by model name (or by argument, for those of the callback)."""
    document = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL)[1]
    found = {}

    def walk(value):
        if isinstance(value, dict):
            attributes = value.get("attributes", {})
            if value.get("name") == "ColumnDataSource":
                entries = plain(attributes["data"])
                found[attributes.get("name", "")] = entries
            if value.get("name") == "CustomJS":
                found["callback"] = plain(attributes["args"])
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(child)

    walk(json.loads(document))
    return found


def plain(value):
    if isinstance(value, dict) and value.get("type") == "map":
        return {key: plain(v) for key, v in value["entries"]}
    if isinstance(value, dict) and value.get("type") == "ndarray":
        raw = base64.b64decode(value["array"]["data"])
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        return np.frombuffer(raw, value["dtype"]).reshape(value["shape"])
    return value


def test_data_are_those_of_the_cell_table(synthetic_results, tmp_path):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    cells, table = embedded(tmp_path / "page.html")["cells"], diagram.cell_table()
    for name in ("seeds", "agreement", "p", "p_low", "p_high", "median_test_time"):
        np.testing.assert_array_equal(cells[name], table[name].to_numpy(float), name)
    assert cells["labels"][0] == "grokking 2"
    assert cells["labels"][1] == "grokking 1, memorisation 1"
    assert cells["labels"][8] == "no runs"
    assert cells["median_text"][4] == "not reached by step 1000"


def test_curves_are_those_of_the_runs(synthetic_results, tmp_path):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    data = embedded(tmp_path / "page.html")["callback"]
    points, start = data["points"], data["start"]
    for cell in range(9):
        here = diagram.runs[diagram.runs["cell"] == cell].sort_values("seed")
        stored = slice(start[cell], start[cell + 1])
        assert data["run_id"][stored] == list(here["run_id"])
        for run, index in zip(range(start[cell], start[cell + 1]), here.index):
            seen = np.isfinite(diagram.curves["step"][index])
            test = data["test"].reshape(-1, points)[run] / data["levels"]
            steps = data["steps"].reshape(-1, points)[data["grid"][run]]
            np.testing.assert_allclose(test[: seen.sum()], diagram.curves["test/accuracy"][index][seen], atol=2e-5)
            np.testing.assert_array_equal(steps[: seen.sum()], diagram.curves["step"][index][seen])
            assert (steps[seen.sum() :] == steps[seen.sum() - 1]).all()


def test_a_metric_that_spans_decades_is_kept_by_its_logarithm(synthetic_results, losses_only, tmp_path):
    results = synthetic_results(GRID, seeds=2, kind=mixed, curves=losses_only)
    diagram = results.phase_diagram(FRACTION, DECAY, metric="loss <= .01")
    diagram.page(tmp_path / "page.html")
    found = embedded(tmp_path / "page.html")
    data, cells = found["callback"], found["cells"]
    order = diagram.runs.sort_values(["cell", "seed"]).index
    for name in ("train", "test"):
        stored = diagram.curves[f"{name}/loss"][order]
        shown = data[name].reshape(len(order), -1) / data["levels"]
        shown = data["least"] * (data["largest"] / data["least"]) ** shown
        seen = np.isfinite(stored)
        np.testing.assert_allclose(shown[seen], stored[seen], rtol=1e-4)
        times = [phases.times(diagram.curves["step"][order], stored, t, below=True) for t in data["thresholds"]]
        kept = np.where(np.isinf(times), 2**32 - 1, times).ravel()
        np.testing.assert_array_equal(data[f"{name}_times"], kept)
    assert data["thresholds"] == [0.005, 0.01, 0.02, 0.05, 0.1]  # of those around .01 what these losses reach
    assert data["compared"] == "test loss ≤"
    np.testing.assert_array_equal(cells["test_loss"], diagram.last_test.ravel())
    assert cells["test_text"][0] == f"{diagram.last_test[0, 0]:.3g}"
    assert cells["test_text"][8] == "–"
    document = (tmp_path / "page.html").read_text().partition('<script type="application/json"')[2]
    assert "Last test loss" in document
    assert "accuracy" not in document.partition("</script>")[0]


def test_other_metrics_are_kept_from_the_least_to_the_largest(synthetic_results, tmp_path):
    both = lambda train, test: {"train/r2": 2 * train - 1, "test/r2": 2 * test - 1}  # noqa: E731
    diagram = synthetic_results(GRID, seeds=2, kind=mixed, curves=both).phase_diagram(
        FRACTION, DECAY, metric="r2 >= .8"
    )
    diagram.page(tmp_path / "page.html")
    data = embedded(tmp_path / "page.html")["callback"]
    stored = diagram.curves["test/r2"][diagram.runs.sort_values(["cell", "seed"]).index]
    shown = data["test"].reshape(stored.shape) / data["levels"] * (data["largest"] - data["least"]) + data["least"]
    np.testing.assert_allclose(shown[np.isfinite(stored)], stored[np.isfinite(stored)], atol=4e-5)
    assert data["wide"] is False
    assert data["thresholds"] == pytest.approx([0.44, 0.62, 0.71, 0.8, 0.89, 0.98])


def test_needs_no_network_and_escapes_names(synthetic_results, tmp_path):
    results = synthetic_results({MASK: MASKS, DECAY: [0.1, 1.0]}, name=NAME)
    results.phase_diagram(MASK, DECAY).page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    markup = re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", page, flags=re.DOTALL)
    assert not re.search(r"<(script|img|iframe)[^>]*\ssrc=|<link|@import", markup)
    assert "<script>alert" not in page
    assert "<title>&lt;script&gt;alert(1)" in page
    assert len(page) < 3_000_000  # among others: no MathJax


EDGES = {
    "one cell": ({FRACTION: [0.5], DECAY: [1.0]}, lambda i, j, seed: "grokking"),
    "one row": ({FRACTION: [0.3, 0.5, 0.7], DECAY: [1.0]}, None),
    "texts": ({MASK: MASKS, "optimizer.decay_kind": ["coupled", "decoupled"]}, None),
    "a 0 beside a log sweep": ({FRACTION: [0.3, 0.5], DECAY: [0.0, 0.01, 0.1, 1.0]}, None),
    "cells without runs": (GRID, lambda i, j, seed: None if (i + j) % 2 else "grokking"),
    "never reached": (GRID, lambda i, j, seed: "memorisation"),
    "diverged and undecided": (GRID, lambda i, j, seed: ("diverged", "undecided")[seed]),
}


@pytest.mark.parametrize("case", EDGES)
def test_writes(synthetic_results, tmp_path, case):
    axes, kind = EDGES[case]
    diagram = synthetic_results(axes, kind=kind).phase_diagram(*axes)
    diagram.page(tmp_path / "page.html")
    assert len(embedded(tmp_path / "page.html")["cells"]["x"]) == diagram.seeds.size
    assert [p.name for p in tmp_path.glob("*.html*")] == ["page.html"]


def test_several_diagrams_are_tabs_with_contours_and_what_stands_above(synthetic_results, tmp_path):
    results = synthetic_results(GRID, seeds=2, kind=mixed)
    options = {"contour": "train/accuracy", "levels": [0.2, 0.7]}
    tabs = {f"<b>{g}": results.phase_diagram(FRACTION, DECAY, gap=g, **options) for g in (100, 600)}
    write_page(tabs, tmp_path / "page.html", above="<p>claims</p>")
    page = (tmp_path / "page.html").read_text()
    assert "<b>100" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    contour = tabs["<b>100"].contour
    assert contour.levels == (0.2, 0.7)
    for level in contour.levels:
        lines = contour.lines(level, *(scales.edges(GRID[path], scales.kind(GRID[path])) for path in (FRACTION, DECAY)))
        shown = embedded(tmp_path / "page.html")[f"contour {level:g}"]
        for end, values in zip(("x0", "y0", "x1", "y1"), lines.reshape(-1, 4).T):
            np.testing.assert_allclose(shown[end], values)
    assert len(embedded(tmp_path / "page.html")["contour 0.7"]["x0"]) > 0


def test_long_curves_are_thinned(synthetic_results, tmp_path, monkeypatch):
    from sweeps.report import page_data

    monkeypatch.setattr(page_data, "POINTS", 20)
    diagram = synthetic_results(GRID).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    data = embedded(tmp_path / "page.html")["callback"]
    steps = data["steps"].reshape(-1, data["points"])
    assert data["points"] <= 21
    assert (steps[:, 0] == 0).all()
    assert (steps[:, -1] == 1000).all()


FRAME = """(index) => {
  const plots = []
  const visit = (view) => { if (view.model.type == "Figure") plots.push(view); (view.child_views || []).forEach(visit) }
  visit(Bokeh.index.roots[0])
  const canvas = plots[index].canvas_view.el.getBoundingClientRect(), frame = plots[index].frame.bbox
  return [canvas.left + frame.left, canvas.top + frame.top, frame.width, frame.height]
}"""


@pytest.fixture
def browser_page():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser.new_page(viewport={"width": 1440, "height": 1000})
        browser.close()


def test_each_tab_shows_its_own_diagram(synthetic_results, tmp_path, browser_page):
    results = synthetic_results(GRID, seeds=2, kind=mixed)
    tabs = {f"gap {g}": results.phase_diagram(FRACTION, DECAY, gap=g, contour="train/accuracy") for g in (100, 900)}
    write_page(tabs, tmp_path / "page.html", above="<p>The claims.</p>")
    complaints = []
    browser_page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    browser_page.on("pageerror", lambda error: complaints.append(str(error)))
    browser_page.goto((tmp_path / "page.html").as_uri())
    browser_page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    browser_page.get_by_text("The claims.").wait_for(timeout=5000)
    browser_page.get_by_text("gap 100 steps").filter(visible=True).first.wait_for(timeout=5000)
    browser_page.get_by_text("gap 900", exact=True).click()
    browser_page.get_by_text("gap 900 steps").filter(visible=True).first.wait_for(timeout=5000)
    browser_page.get_by_text("train/accuracy reaches 0.5").filter(visible=True).first.wait_for(timeout=5000)
    assert complaints == []


CELLS = """(index) => {
  const found = []
  const visit = (view) => {
    if (view.model.type == "Figure" && view.model.name == "phases") found.push(view.model.renderers[0].data_source)
    ;(view.child_views || []).forEach(visit)
  }
  visit(Bokeh.index.roots[0])
  const told = (values) => Array.from(values, (v) => typeof v == "number" ? `${v}` : v)
  const {p, labels} = found[index].data
  return {p: told(p), labels: told(labels), selected: [...found[index].selected.indices], count: found.length}
}"""


def test_all_panels_are_there_at_once_and_share_what_the_definition_is_chosen_with(
    synthetic_results, tmp_path, browser_page
):
    kinds = ("grokking", "memorisation", "comprehension")
    results = synthetic_results({**GRID, MASK: MASKS}, seeds=1, kind=lambda i, j, k, seed: kinds[(i + j + k) % 3])
    panels = results.facets(MASK, FRACTION, DECAY)
    named = {f"<b>{name}</b> $x$ of a title that goes on": diagram for name, diagram in panels.items()}
    write_page({"": named}, tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    assert browser_page.evaluate(CELLS, 0)["count"] == 3
    headings = browser_page.locator("h2").filter(visible=True).all_inner_texts()
    assert headings[:3] == list(named)
    assert browser_page.locator(".bk-tab").all_inner_texts()[1] == "Median step at the threshold (test)"
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 1440
    left, top, width, height = browser_page.evaluate(FRAME, 1)  # the second panel's
    browser_page.wait_for_timeout(400)
    browser_page.mouse.click(left + width * 1.5 / 3, top + height * 2.5 / 3)
    runs = "Bokeh.documents[0].get_model_by_name('curves').data.run_id.join()"
    second = list(panels.values())[1]
    (run_id,) = second.runs["run_id"][second.runs["cell"] == 1]
    browser_page.wait_for_function(f"(expected) => {runs} == expected", arg=run_id)
    assert [browser_page.evaluate(CELLS, k)["selected"] for k in range(3)] == [[], [1], []]
    assert list(named)[1] in browser_page.locator("h2").all_inner_texts()[-1]
    model = "Bokeh.documents[0].get_model_by_name"
    browser_page.evaluate(f"{model}('budget').value = 500")
    browser_page.evaluate(f"{model}('gap').value = 40")
    browser_page.wait_for_function(f"{model}('said').text.includes('gap 40 steps')")
    for k, expected in enumerate(results.facets(MASK, FRACTION, DECAY, budget=500, gap=40).values()):
        shown = browser_page.evaluate(CELLS, k)["p"]
        np.testing.assert_array_equal([float(v) for v in shown], expected.probability.ravel())
    assert browser_page.evaluate(f"{model}('said').text").count("Now shown (&lt;b&gt;") == 3
    with browser_page.expect_download() as download:
        browser_page.get_by_text("Download the runs (CSV)").click()
    table = pd.read_csv(download.value.path())
    assert sorted(table["run_id"]) == sorted(results.runs["run_id"])
    assert table.groupby("panel").size().to_dict() == dict.fromkeys(named, 9)
    browser_page.get_by_role("button", name="Stored definition").click()
    browser_page.wait_for_function(f"{model}('said').text == ''")
    browser_page.get_by_text("P(generalise)", exact=True).filter(visible=True).first.click()
    assert complaints == []


def test_theory_is_drawn_over_maps_and_curves(synthetic_results, tmp_path, browser_page):
    line = sweeps.Overlay("<i>edge</i>", lambda x: x)
    fall = sweeps.Overlay("fall", lambda t, decay: np.exp(-decay * t), along="step", fields=[DECAY])
    flat = sweeps.Overlay("flat", lambda t: 0.5 + 0 * t, along="step")
    diagram = synthetic_results(GRID, seeds=2).phase_diagram(FRACTION, DECAY, overlays=[line, fall, flat])
    diagram.page(tmp_path / "page.html")
    drawn = embedded(tmp_path / "page.html")["overlay &lt;i&gt;edge&lt;/i&gt;"]
    np.testing.assert_array_equal(np.stack([drawn["x"], drawn["y"]], 1), diagram.map_lines()["<i>edge</i>"])
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    browser_page.evaluate(f"{model}('cells').selected.indices = [0, 4]")
    browser_page.wait_for_function(f"{model}('theory').data.name.join() == 'fall,fall,flat'")
    shown = browser_page.evaluate(f"{model}('theory').data.values.map((ys) => Array.from(ys))")
    _, curves = diagram.step_curves
    np.testing.assert_allclose(shown[:2], [curves["fall"][0], curves["fall"][4]], rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(shown[2], 0.5)
    assert "<i>edge</i>" in browser_page.locator(".key").all_inner_texts()
    assert complaints == []


def test_panels_that_differ_in_their_definition_are_tabs(synthetic_results, tmp_path):
    results = synthetic_results(GRID, seeds=1)
    panels = {f"gap {gap}": results.phase_diagram(FRACTION, DECAY, gap=gap) for gap in (100, 900)}
    write_page({"a": panels}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert '"title":"a: gap 100"' in page
    assert '"title":"a: gap 900"' in page


def test_clicking_a_cell_shows_its_runs(synthetic_results, tmp_path, browser_page):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed, name=NAME).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    complaints, requests = [], []
    browser_page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    browser_page.on("pageerror", lambda error: complaints.append(str(error)))
    browser_page.on("request", lambda request: requests.append(request.url))
    browser_page.goto((tmp_path / "page.html").as_uri())
    browser_page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    runs = "Bokeh.documents[0].get_model_by_name('curves').data.run_id"

    def of_cell(cell):
        return list(diagram.runs[diagram.runs["cell"] == cell].sort_values("seed")["run_id"])

    browser_page.wait_for_function(f"{runs}.length > 0")
    assert browser_page.evaluate(runs) == of_cell(0)  # at first a cell that groks
    for map_index, cell in ((0, 4), (1, 3), (2, 8), (2, 7)):
        left, top, width, height = browser_page.evaluate(FRAME, map_index)
        row, column = divmod(cell, 3)
        at = left + width * (column + 0.5) / 3, top + height * (1 - (row + 0.5) / 3)
        browser_page.wait_for_timeout(400)  # clicks in short order are a double click
        browser_page.mouse.move(*at)
        browser_page.mouse.click(*at)
        browser_page.wait_for_function(f"(expected) => {runs}.join() == expected", arg=",".join(of_cell(cell)))
    listed = browser_page.evaluate("Bokeh.documents[0].get_model_by_name('runs').text")
    assert of_cell(7)[0] in listed
    assert "train fraction = 0.5, weight decay = 1" in listed
    assert browser_page.locator("h1").inner_text() == NAME
    browser_page.get_by_text("agreement:").filter(visible=True).first.wait_for(timeout=5000)
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def opened(page, path):
    """Opens a page; the list that collects what the browser complains of."""
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('curves').data.run_id.length > 0")
    return complaints


def test_another_definition_relabels_as_python_does(synthetic_results, tmp_path, browser_page):
    rises = ("comprehension", "grokking", "memorisation", "confusion", "diverged", "undecided")
    results = synthetic_results(
        {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0]},
        seeds=4,
        kind=lambda i, j, s: {(1, 1): None, (0, 0): rises[4 if s else 1]}.get(
            (i, j), rises[(i + 2 * j + s * (i + j)) % 6]
        ),
    )
    results.phase_diagram(FRACTION, DECAY).page(tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    for definition in (
        {"threshold": 0.5, "budget": 1000, "gap": 600},
        {"threshold": 0.5, "budget": 500, "gap": 40},
        {"threshold": 0.99, "budget": 700, "gap": 0},
        {"threshold": 1.0, "budget": 1000, "gap": 1000},
        {"threshold": 0.9, "budget": 680, "gap": 640},
        {"threshold": 0.9, "budget": 700, "gap": 680},  # T_test = 700 and T_test - T_train = 680 of those that grok
    ):
        values = {**definition, "threshold": f"{definition['threshold']:g}"}
        browser_page.evaluate(f"(d) => {{ for (const n in d) {model}(n).value = d[n] }}", values)
        browser_page.wait_for_function(f"(t) => {model}('said').text.includes(t)", arg=f"gap {definition['gap']} steps")
        expected = results.phase_diagram(FRACTION, DECAY, **definition)
        # what JSON has no word for is sent as text
        told = f"(c) => Array.from({model}('cells').data[c], (v) => typeof v == 'number' ? `${{v}}` : v)"
        table = expected.cell_table()
        for column in ("p", "p_low", "p_high", "agreement", "median_test_time"):
            shown = [float(v.replace("Infinity", "inf")) for v in browser_page.evaluate(told, column)]
            np.testing.assert_allclose(
                shown, table[column].to_numpy(float), atol=1e-12, err_msg=f"{column} {definition}"
            )
        colours = [label.colour for label in expected.labelling.labels]
        majority = expected.majority.ravel()
        assert browser_page.evaluate(told, "colour") == [colours[m] if m >= 0 else "#ffffff" for m in majority]
        counts = expected.counts.reshape(-1, expected.counts.shape[-1])
        hatches = np.where(np.isinf(expected.median_time), "right_diagonal_line", "blank")
        hatches = np.where(expected.unwatched, "dot", hatches).ravel().tolist()
        assert browser_page.evaluate(told, "hatch") == hatches
        told_resolved = [text == "no" for text in browser_page.evaluate(told, "resolved")]
        assert told_resolved == table["resolved"].tolist()
        names = expected.labelling.names
        texts = [", ".join(f"{n} {c}" for n, c in zip(names, row) if c) or "no runs" for row in counts]
        assert browser_page.evaluate(told, "labels") == texts
        squares = browser_page.evaluate(f"{model}('squares').data.colour.length")
        assert squares == int(((counts > 0).sum(1) > 1).sum())
    for name, value, why in (("gap", 10, "below one interval between evaluations, 20 steps"), ("budget", 500, "above")):
        before = browser_page.evaluate(told, "labels")
        browser_page.evaluate(f"(v) => {{ {model}('{name}').value = v }}", value)
        browser_page.wait_for_function(f"(t) => {model}('said').text.includes(t)", arg=why)
        assert browser_page.evaluate(told, "labels") == before
        browser_page.evaluate(f"{model}('gap').value = 680")
    browser_page.get_by_role("button", name="Stored definition").click()
    browser_page.wait_for_function(f"{model}('said').text == ''")
    assert browser_page.evaluate(f"{model}('gap').value") == 600
    assert complaints == []


def test_another_threshold_of_a_loss_relabels_as_python_does(synthetic_results, losses_only, tmp_path, browser_page):
    results = synthetic_results(GRID, seeds=2, kind=mixed, curves=losses_only)
    diagram = results.phase_diagram(FRACTION, DECAY, metric="loss <= .01")
    diagram.page(tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    shown = browser_page.evaluate(f"{model}('curves').data.test.map((ys) => Array.from(ys))")
    here = diagram.runs[diagram.runs["cell"] == 0].sort_values("seed").index
    np.testing.assert_allclose(shown, diagram.curves["test/loss"][here, 1:], rtol=1e-4)
    for threshold in (0.1, 0.005):
        browser_page.evaluate(f"(t) => {{ {model}('threshold').value = t }}", f"{threshold:g}")
        browser_page.wait_for_function(f"(t) => {model}('said').text.includes(t)", arg=f"test loss ≤ {threshold:g},")
        expected = results.phase_diagram(FRACTION, DECAY, metric=f"loss <= {threshold}").median_time.ravel()
        assert not np.array_equal(expected, diagram.median_time.ravel(), equal_nan=True)
        told = browser_page.evaluate(f"Array.from({model}('cells').data.median_test_time, (v) => `${{v}}`)")
        np.testing.assert_array_equal([float(v.replace("Infinity", "inf")) for v in told], expected)
    browser_page.get_by_role("button", name="Stored definition").click()
    browser_page.wait_for_function(f"{model}('said').text == ''")
    assert browser_page.evaluate(f"{model}('threshold').value") == "0.01"
    assert complaints == []


def test_several_cells_show_their_median_and_the_runs_that_did_not_reach(synthetic_results, tmp_path, browser_page):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    browser_page.evaluate(f"{model}('cells').selected.indices = [1, 3]")  # two runs that grok and two that do not
    here = diagram.runs[diagram.runs["cell"].isin([1, 3])]
    browser_page.wait_for_function(f"{model}('curves').data.run_id.length == {len(here)}")
    marks = browser_page.evaluate(f"Array.from({model}('marks').data.step)")
    assert len(marks) == int(np.isinf(here["test_time"]).sum()) > 0
    median = browser_page.evaluate(f"Array.from({model}('middle').data.test)")
    steps = browser_page.evaluate(f"Array.from({model}('middle').data.step)")
    test = diagram.curves["test/accuracy"][here.index]
    at = [int(np.argmax(diagram.curves["step"][here.index[0]] == step)) for step in steps]
    np.testing.assert_allclose(median, np.median(test[:, at], axis=0), atol=2e-5)
    assert "2 cells" in browser_page.evaluate(f"{model}('runs').text")
    assert "scripts/replay.py --workdir=" in browser_page.evaluate(f"{model}('runs').text")
    assert complaints == []


def test_a_run_that_has_ended_keeps_its_last_value_in_the_median(synthetic_results, tmp_path, browser_page):
    ended = lambda *at: ("undecided", "comprehension", "grokking")[at[-1]]  # noqa: E731
    diagram = synthetic_results(GRID, seeds=3, kind=ended).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    browser_page.evaluate(f"{model}('cells').selected.indices = [4]")
    browser_page.wait_for_function(f"{model}('curves').data.run_id.length == 3")
    here = np.flatnonzero(diagram.runs["cell"] == 4)
    steps, test = (diagram.curves[name][here] for name in ("step", "test/accuracy"))
    at, (middle,) = style.quantiles(np.where(steps > 0, steps, np.nan), test, (0.5,))
    np.testing.assert_array_equal(browser_page.evaluate(f"Array.from({model}('middle').data.step)"), at)
    np.testing.assert_allclose(browser_page.evaluate(f"Array.from({model}('middle').data.test)"), middle, atol=2e-5)
    assert complaints == []


def test_a_drag_over_cells_chooses_those_that_its_box_touches(synthetic_results, tmp_path, browser_page):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    complaints = opened(browser_page, tmp_path / "page.html")
    model = "Bokeh.documents[0].get_model_by_name"
    for map_index, first, last, chosen in ((0, (0, 1), (1, 2), [1, 2, 4, 5]), (3, (2, 0), (1, 1), [3, 4, 6, 7])):
        drag(browser_page, map_index, first, last)
        browser_page.get_by_text("4 cells").wait_for(timeout=5000)
        assert sorted(browser_page.evaluate(f"{model}('cells').selected.indices")) == chosen
        listed = browser_page.locator(".list td:first-child").all_inner_texts()
        assert sorted(listed) == sorted(diagram.runs[diagram.runs["cell"].isin(chosen)]["run_id"])
        browser_page.evaluate(f"{model}('cells').selected.indices = [0]")
    left, top, *_ = browser_page.evaluate(FRAME, 0)
    browser_page.mouse.move(left + 20, top + 20)  # the tools are seen while one points at a map
    browser_page.get_by_title("Box Zoom").filter(visible=True).first.click()
    drag(browser_page, 0, (0, 0), (1, 1))
    browser_page.wait_for_function(f"Math.abs({model}('phases').x_range.end - 0.5) < 0.01")
    assert browser_page.evaluate(f"{model}('cells').selected.indices") == [0]
    assert complaints == []


def drag(page, map_index, first, last):
    """Draws a box with the mouse over a map of 3 × 3 cells, from the middle of one, (row, column), to another's."""
    left, top, width, height = page.evaluate(FRAME, map_index)
    ends = [(left + width * (i + 0.5) / 3, top + height * (1 - (j + 0.5) / 3)) for j, i in (first, last)]
    page.mouse.move(*ends[0])
    page.mouse.down()
    page.mouse.move(*ends[1], steps=8)
    page.mouse.up()


CLAIMS = "<details open><table><tr>{}</tr><tr>{}</tr></table></details>".format(
    "".join(f"<th>{name}</th>" for name in claims.HEAD),
    "".join(f'<td data-name="{name}">StableMax generalises</td>' for name in claims.HEAD),
)
BOXES = "(all) => all.map((e) => e.getBoundingClientRect()).filter((b) => b.width).map((b) => [b.left, b.right])"


@pytest.mark.slow
def test_a_narrow_page_scrolls_down_only(synthetic_results, tmp_path, browser_page):
    results = synthetic_results(GRID, seeds=6, kind=mixed)
    names = [f"a tab of a longer name {g}" for g in (100, 600)]
    tabs = {n: results.phase_diagram(FRACTION, DECAY, contour="train/accuracy") for n in names}
    write_page(tabs, tmp_path / "page.html", above=CLAIMS)
    browser_page.set_viewport_size({"width": 400, "height": 2500})
    browser_page.goto((tmp_path / "page.html").as_uri())
    browser_page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    browser_page.locator(".list tr").first.wait_for(state="attached")
    drag(browser_page, 0, (0, 0), (2, 2))
    browser_page.get_by_text("9 cells").filter(visible=True).wait_for(timeout=5000)
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 400
    for place in (".bk-Figure", ".bk-tab", ".bk-Slider", ".key", "details td", ".list td"):
        boxes = browser_page.locator(place).evaluate_all(BOXES)
        assert boxes, place
        assert all(0 <= left <= right <= 400 for left, right in boxes), place
    sizes = "(e) => [e.scrollWidth <= e.clientWidth, e.clientHeight < 400, e.scrollHeight > 1000]"
    assert browser_page.locator(".list").filter(visible=True).evaluate(sizes) == [True, True, True]


def test_replay_commands_are_quoted_for_the_shell(synthetic_results, tmp_path, browser_page):
    workdir = Path(synthetic_results(GRID).workdir).rename(tmp_path / """it's "a" <b>&""")
    held = json.loads((workdir / "sweep.json").read_text())
    files = [str(tmp_path / "own.py"), str(tmp_path / "it's <i>mine</i>.py")]
    (workdir / "sweep.json").write_text(json.dumps({**held, "sources": files}))
    diagram = sweeps.Results(workdir).phase_diagram(FRACTION, DECAY)
    diagram.page(tmp_path / "page.html")
    opened(browser_page, tmp_path / "page.html")
    run_id = browser_page.locator(".list code").first.inner_text()
    command = browser_page.locator(".list button").first.get_attribute("title")
    flags = [f"--workdir={workdir}", *(f"--sweep={file}" for file in files), f"--run_id={run_id}"]
    assert shlex.split(command) == ["python", str(SCRIPT), *flags]
    assert SCRIPT.is_file()


def test_the_runs_can_be_downloaded(synthetic_results, tmp_path, browser_page):
    diagram = synthetic_results(GRID, seeds=2, kind=mixed).phase_diagram(FRACTION, DECAY)
    first, *others = diagram.labelling.labels
    names = [dataclasses.replace(first, name="-first"), *(dataclasses.replace(o, name=f"={o.name}") for o in others)]
    formulas = dataclasses.replace(diagram.labelling, labels=tuple(names), event=["-first"], undecided=[])
    diagram = dataclasses.replace(diagram, labelling=formulas)
    diagram.page(tmp_path / "page.html")
    opened(browser_page, tmp_path / "page.html")
    with browser_page.expect_download() as download:
        browser_page.get_by_text("Download the runs (CSV)").click()
    table = pd.read_csv(download.value.path()).set_index("run_id").loc[diagram.runs["run_id"]]
    np.testing.assert_array_equal(table["test_time"], diagram.runs["test_time"])
    shown = [f"'{diagram.labelling.names[i]}" for i in diagram.runs["label"]]  # a spreadsheet does not run them
    np.testing.assert_array_equal(table["label"], shown)
    np.testing.assert_array_equal(
        table[[FRACTION, "seed", "split_seed", "steps"]], diagram.runs[[FRACTION, "seed", "split_seed", "steps"]]
    )


def test_a_running_sweep_shows_what_is_still_to_come(synthetic_results, tmp_path):
    results = synthetic_results(GRID, seeds=1, kind=lambda i, j, s: "grokking" if i < 2 else None)
    diagram = results.phase_diagram(FRACTION, DECAY, unfinished=True)
    np.testing.assert_array_equal(diagram.pending, [[False, False, True]] * 3)
    write_page(diagram, tmp_path / "page.html", refresh=30)
    assert '<meta http-equiv="refresh" content="30">' in (tmp_path / "page.html").read_text()
    assert "3 cells wait for runs" in (tmp_path / "page.html").read_text()


def test_texts_with_commas_are_one_cell_of_the_download(synthetic_results, tmp_path, browser_page):
    names = ("early, or at once", "late")
    assign = lambda o: (o.test_time > 500).astype(int)  # noqa: E731
    halves = Labelling(
        "halves", [Label(names[0], "#000000"), Label(names[1], "#ffffff")], assign, names[:1], "be early"
    )
    diagram = synthetic_results(GRID, seeds=1).phase_diagram(FRACTION, DECAY, labels=halves)
    diagram.page(tmp_path / "page.html")
    opened(browser_page, tmp_path / "page.html")
    with browser_page.expect_download() as download:
        browser_page.get_by_text("Download the runs (CSV)").click()
    table = pd.read_csv(download.value.path()).set_index("run_id").loc[diagram.runs["run_id"]]
    np.testing.assert_array_equal(table["label"], [names[i] for i in diagram.runs["label"]])
    np.testing.assert_array_equal(table[DECAY], diagram.runs[DECAY])
