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
    "trained": ["2026-11-28T20:52:57+00:00", "2026-11-27T01:00:00+00:00"],
    "jaxgen": "0.1.0",
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "python": "3.11.7",
    "device_kind": "cpu",
    "command": ["reproduce.py", "--workdir=a <b"],
    "claims": [
        {
            "name": "1",
            "text": "x < y",
            "published": "y > 2",
            "verdict": "PASS",
            "missing": "",
            "effects": [{"name": "y & x", "text": "1.5 [1, 2]", "claimed": "> 0", "unit": "6 <seeds>"}],
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
        "<td>y &amp; x<td>1.5 [1, 2]<td>&gt; 0<td>6 &lt;seeds&gt;",
        "trained 2026-11-27 to 2026-11-28; jaxgen 0.1.0, jax 0.10.2, jaxlib 0.10.2, python 3.11.7, device_kind cpu; ",
        "; python reproduce.py &#x27;",
        "trained at a time that is not recorded; jaxgen",
        "&#x27;--workdir=a &lt;b&#x27;",
        'class="PASS"',
        "7 runs; 0.025 of 1 would pass by chance",
        "../one/report.html",
        "../two/plane.png",
        "say &quot;hello&quot;",
    ):
        assert text in page
    assert "<b>" not in page
