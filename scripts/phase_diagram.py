"""Draws the phase diagram of a sweep: diagram.png, diagram.svg, diagram.csv and report.html. Nothing is retrained.

python scripts/phase_diagram.py --workdir=out/quickstart --x=task.train_fraction --y=optimizer.weight_decay
python scripts/phase_diagram.py --workdir=out/quickstart --threshold=.99 --gap=1000 --sustained=3
python scripts/phase_diagram.py --workdir=out/quickstart --contour=weight_norm --levels=20,40
"""

from pathlib import Path

from absl import flags

import sweeps
from jaxgen import FieldError
from sweeps import command, grammar

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results.", required=True)
X = flags.DEFINE_string("x", None, "Field on the x axis; the sweep's first axis when left out.")
Y = flags.DEFINE_string("y", None, "Field on the y axis; the sweep's second axis when left out.")
OUT = flags.DEFINE_string("out", None, "Directory of the files; the workdir when left out.")
THRESHOLD = flags.DEFINE_float("threshold", None, "Accuracy that counts as reached.")
BUDGET = flags.DEFINE_integer("budget", None, "Last step that counts.")
GAP = flags.DEFINE_integer("gap", None, "Delay between train and test from which generalisation is late, in steps.")
SUSTAINED = flags.DEFINE_integer(
    "sustained", None, "Evaluations in a row at the threshold; 1: first crossing; 0: to the end."
)
CONTOUR = flags.DEFINE_string("contour", None, "A probe (train/collapse): lines around the cells where it gets large.")
LEVELS = flags.DEFINE_string("levels", None, "Levels of the contour; .1,.5 when left out.")
WHERE = flags.DEFINE_multi_string("where", [], "Holds another field at one value: path=value.")


def main() -> None:
    results = sweeps.Results(WORKDIR.value)
    where = {}
    for text in WHERE.value:
        (path, values), *_ = grammar.assignment(text, "where").axes.items()
        if len(values) != 1 or path in where:
            raise FieldError(path, values, "is held at one value")
        where[path] = values[0]
    varied = {path: values for path, values in results.specification["axes"].items() if len(values) > 1}
    axes = [path for path in varied if path not in ("seed", "split_seed", *where)]
    if len(axes) < 2 and None in (X.value, Y.value):
        raise FieldError("x", X.value, f"give --x and --y: the sweep has {len(axes)} axis apart from seeds")
    left = [path for path in axes if path not in (X.value, Y.value)]
    x = X.value or left.pop(0)
    y = Y.value or left.pop(0)
    diagram = results.phase_diagram(
        x,
        y,
        threshold=THRESHOLD.value,
        budget=BUDGET.value,
        gap=GAP.value,
        sustained=SUSTAINED.value,
        where=where,
        contour=CONTOUR.value,
        levels=tuple(grammar.values(LEVELS.value, "levels")) if LEVELS.value else None,
    )
    out = Path(OUT.value or WORKDIR.value)
    out.mkdir(parents=True, exist_ok=True)
    diagram.plot(out / "diagram.png")
    diagram.plot(out / "diagram.svg")
    diagram.to_csv(out / "diagram.csv")
    diagram.page(out / "report.html")
    for phase in sweeps.Phase:
        runs, cells = int((diagram.runs["phase"] == phase).sum()), int((diagram.majority == phase).sum())
        if runs:
            print(f"{phase.name.lower().replace('_', ' '):14} {runs:6} runs, majority of {cells} cells")
    print(f"figure: {out / 'diagram.png'}\npage:   {out / 'report.html'}")


if __name__ == "__main__":
    command.main(main)
