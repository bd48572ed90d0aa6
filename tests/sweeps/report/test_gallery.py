"""One page of many studies."""

import json

from sweeps.report.gallery import write_gallery

FOUND = {
    "recipe": "<b>one</b>",
    "paper": "A & B 2020",
    "description": "",
    "scale": "quick",
    "runs": 7,
    "passes_by_chance": 0.025,
    "claims_tested": 1,
    "claims": [{"name": "1", "text": "x < y", "verdict": "PASS"}],
    "drawings": ["plane"],
}


def test_it_links_to_each_study_and_escapes_what_was_typed(tmp_path):
    for name, changes in (("one", {}), ("two", {"claims": [], "paper": "", "description": 'say "hello"'})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "claims.json").write_text(json.dumps({**FOUND, **changes}))
    write_gallery([tmp_path / "one", tmp_path / "two"], tmp_path / "pages" / "gallery.html")
    page = (tmp_path / "pages" / "gallery.html").read_text()
    for text in (
        "&lt;b&gt;one&lt;/b&gt;",
        "A &amp; B 2020",
        "x &lt; y",
        'class="PASS"',
        "7 runs; 0.025 of 1 would pass by chance",
        "../one/report.html",
        "../two/plane.png",
        "say &quot;hello&quot;",
    ):
        assert text in page
    assert "<b>" not in page
