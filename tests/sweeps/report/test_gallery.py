"""One page of many studies."""

import json

from sweeps.report.gallery import write_gallery

VERSIONS = {"jaxgen": "0.1.0", "jax": "0.10.2", "jaxlib": "0.10.1", "numpy": "2.4.6"}
EFFECT = {
    "name": "y & x",
    "note": "a <bound>",
    "text": "1.5 [1, 2]",
    "claimed": "> 0",
    "of": "6 <s>",
    "verdict": "FAIL",
}
FOUND = {
    "recipe": "<b>one</b>",
    "paper": "A & B 2020",
    "description": "",
    "scale": "quick",
    "runs": 7,
    "passes_by_chance": 0.025,
    "claims_tested": 1,
    "trained": [
        {
            "time": "2026-11-27T23:52:57+00:00",
            "updated": "2026-11-28T00:52:57+00:00",
            **VERSIONS,
            "device_kind": "H <1>",
        },
        {"time": "2026-11-28T01:00:00+00:00", "updated": None, **VERSIONS, "device_kind": "cpu"},
    ],
    "command": ["reproduce.py", "--workdir=a <b"],
    "claims": [
        {
            "name": "1",
            "text": "x < y",
            "published": "y > 2",
            "verdict": "PASS",
            "missing": "",
            "effects": [EFFECT],
        }
    ],
    "drawings": ["plane"],
}


def test_it_links_to_each_study_and_escapes_what_was_typed(tmp_path):
    bare = {"claims": [], "trained": [], "paper": "", "description": 'say "hello"'}
    for name, changes in (("one", {}), ("two", bare)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "claims.json").write_text(json.dumps({**FOUND, **changes}))
    write_gallery([tmp_path / "one", tmp_path / "two"], tmp_path / "pages" / "gallery.html")
    page = (tmp_path / "pages" / "gallery.html").read_text()
    for text in (
        "&lt;b&gt;one&lt;/b&gt;",
        "A &amp; B 2020",
        "x &lt; y. Published: y &gt; 2.",
        "<td>y &amp; x (a &lt;bound&gt;)<td>1.5 [1, 2]<td>&gt; 0<td>6 &lt;s&gt;<td>FAIL",
        "trained 2026-11-27 to 2026-11-28; jaxgen 0.1.0, jax 0.10.2, jaxlib 0.10.1, numpy 2.4.6, device_kind H &lt;",
        "device_kind cpu; judged by python reproduce.py ",
        "trained at a time that is not recorded; judged by",
        "&#x27;--workdir=a &lt;b&#x27;",
        'class="PASS"',
        "7 runs; 0.025 of 1 would pass by chance",
        "../one/report.html",
        "../two/plane.png",
        "say &quot;hello&quot;",
    ):
        assert text in page
    assert "<b>" not in page
