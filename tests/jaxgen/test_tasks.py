import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxgen as jg
from examples import example
from jaxgen import FieldError, losses, models, optimizers, tasks
from jaxgen.components import checked

KEY = jax.random.key(0)
SEEDS = st.integers(0, 2**31 - 1)
FORMULAS = [
    (tasks.ModularAddition(p=11), lambda a, b: (a + b) % 11),
    (tasks.ModularSubtraction(p=11), lambda a, b: (a - b) % 11),
    (tasks.ModularMultiplication(p=11), lambda a, b: (a * b) % 11),
    (tasks.ModularDivision(p=11), lambda a, b: a * pow(b, 9, 11) % 11),
    (tasks.ModularPolynomial(p=11, form="x+y"), lambda a, b: (a + b) % 11),
    (tasks.ModularPolynomial(p=11, form="xy"), lambda a, b: (a * b) % 11),
    (tasks.ModularPolynomial(p=11, form="x^2+y^2"), lambda a, b: (a**2 + b**2) % 11),
    (tasks.ModularPolynomial(p=11, form="x^2+xy+y^2"), lambda a, b: (a**2 + a * b + b**2) % 11),
    (tasks.ModularPolynomial(p=11, form="x^2+xy+y^2+x"), lambda a, b: (a**2 + a * b + b**2 + a) % 11),
    (tasks.ModularPolynomial(p=11, form="x^3+xy"), lambda a, b: (a**3 + a * b) % 11),
    (tasks.ModularPolynomial(p=11, form="x^3+xy^2+y"), lambda a, b: (a**3 + a * b**2 + b) % 11),
]


@pytest.mark.parametrize(
    ("task", "formula"), FORMULAS, ids=[f"{type(t).__name__}{getattr(t, 'form', '')}" for t, _ in FORMULAS]
)
def test_modular_tables_hold_every_pair_once(task, formula):
    examples = task.examples(KEY)
    pairs = [tuple(map(int, row)) for row in examples.inputs]
    pool = [(a, b) for a in range(11) for b in range(11) if b or not isinstance(task, tasks.ModularDivision)]
    assert sorted(pairs) == pool
    assert [int(y) for y in examples.labels] == [formula(a, b) for a, b in pairs]
    assert sum(task.rows().values()) == len(pool)


@pytest.mark.parametrize("make", [tasks.ModularAddition, tasks.ModularDivision])
def test_pairs_can_leave_zeros_out(make):
    task = make(p=113, lowest=1)
    rows = task.table().astype(int)
    assert len(np.unique(rows, axis=0)) == 112**2 == task.size() == sum(task.rows().values())
    assert (rows[:, :2].min(), rows[:, :2].max()) == (1, 112)
    with pytest.raises(jg.FieldError, match="at most p - 2"):
        jg.Experiment(make(p=3, lowest=2), jg.models.MLP(), jg.losses.CrossEntropy(), jg.optimizers.SGD())


@pytest.mark.parametrize("lowest", [0, 1])
@pytest.mark.parametrize("make", [tasks.ModularAddition, tasks.ModularDivision])
def test_pairs_can_be_without_an_order(make, lowest):
    task, whole = make(p=11, lowest=lowest, ordered=False, train_fraction=0.4), make(p=11, lowest=lowest)
    rows = [tuple(map(int, row)) for row in task.table()]
    assert rows == [row for row in map(tuple, whole.table().tolist()) if row[0] <= row[1]]
    assert len(rows) == task.size() == sum(task.rows().values())
    assert task.rows()["train"] == len(rows) * 4 // 10
    assert getattr(task, "group", None) is None


def test_division_undoes_multiplication():
    rows = tasks.ModularDivision(p=13).table().astype(int)
    np.testing.assert_array_equal(rows[:, 2] * rows[:, 1] % 13, rows[:, 0])


def test_large_moduli_do_not_overflow():
    task = tasks.ModularPolynomial(p=4093, form="x^3+xy^2+y")
    a, b = np.array([4092]), np.array([4092])
    assert task.result(a.astype(np.int64), b.astype(np.int64))[0] == 4092**3 + 4092**3 + 4092


@given(st.integers(1, 20000), st.integers(1, 10000))
def test_train_rows_are_exact(rows, tenths_of_percent):
    fraction = tenths_of_percent / 10000
    split = tasks.train_test(rows, fraction)
    assert split["train"] == max(1, tenths_of_percent * rows // 10000)
    assert split["train"] + split["test"] == rows


def test_splits_depend_on_their_seed_only(toy):
    def train_rows(experiment):
        data = jg.training.load(jg.training.numbers(experiment), jg.training.Rows.of(experiment))
        return set(map(tuple, np.asarray(data.inputs)[np.asarray(data.splits["train"])].tolist()))

    assert len(train_rows(toy)) == 29
    assert train_rows(toy.override({"seed": 1})) != train_rows(toy)
    assert train_rows(toy.override({"seed": 1, "split_seed": 0})) == train_rows(toy)
    assert train_rows(toy.override({"seed": 5, "split_seed": 1})) == train_rows(toy.override({"seed": 1}))


def test_a_larger_fraction_adds_rows_to_the_same_split(toy):
    def order(fraction):
        experiment = toy.override({"task.train_fraction": fraction})
        return np.asarray(jg.training.load(jg.training.numbers(experiment), jg.training.Rows.of(experiment)).inputs)

    np.testing.assert_array_equal(order(0.3), order(0.9))


def test_sparse_parity_counts_the_relevant_bits():
    task = tasks.SparseParity(bits=10, relevant=3, samples=500)
    examples = task.examples(KEY)
    bits = np.asarray(examples.inputs).astype(int)
    np.testing.assert_array_equal(examples.labels, bits[:, 0] ^ bits[:, 1] ^ bits[:, 2])
    assert set(np.unique(bits)) == {0, 1}
    assert 0.45 < bits.mean() < 0.55
    assert task.rows() == {"train": 250, "test": 250}


def test_xor_clusters_have_the_inner_products_of_their_dimension():
    task = tasks.XorClusters(train_rows=60, test_rows=40, dimension=5000, separation=30.0, flipped=0.2)
    examples = task.examples(KEY)
    x, y = np.asarray(examples.inputs, np.float64), np.asarray(examples.labels)
    assert x.shape == (100, 102)
    gram = x @ x.T
    noise = (gram - x[:, :2] @ x[:, :2].T)[np.triu_indices(100, 1)]
    assert abs(noise.mean()) < 5 * np.sqrt(5000 / len(noise))
    assert noise.std() == pytest.approx(np.sqrt(4998), rel=0.05)
    lengths = np.diag(gram)
    assert lengths.mean() == pytest.approx(5000 + 900, rel=0.01)
    assert lengths.std() == pytest.approx(np.sqrt(2 * 5000 + 4 * 900), rel=0.35)
    truth = np.where(np.abs(x[:, 0]) > np.abs(x[:, 1]), 1, -1)
    flipped, clean = (np.asarray(examples.splits[name]) for name in ("flipped", "clean"))
    np.testing.assert_array_equal(y, np.where(flipped, -truth, truth))
    assert (flipped ^ clean)[:60].all()
    assert not (flipped | clean)[60:].any()
    assert 3 <= flipped.sum() <= 24
    assert task.correct(jax.numpy.asarray(y)[:, None], examples.labels).all()


def test_training_on_points_and_on_their_coordinates_is_the_same_function():
    """In float64, from tiny weights in the span of the rows: what gradient descent in 300 dimensions does, 24 do."""
    task = tasks.XorPoints(train_rows=16, test_rows=8, dimension=300, separation=14.0, flipped=0.1)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        examples = task.examples(KEY)
        assert examples.inputs.shape == (24, 300)
        points, labels = jnp.asarray(examples.inputs, jnp.float64), jnp.asarray(examples.labels, jnp.float64)
        basis, triangle = jnp.linalg.qr(points.T)
        model, loss = jg.models.FixedReadoutMLP(width=10), jg.losses.Logistic(dtype="float64")
        drawn = 1e-15 * jax.random.normal(KEY, (300, 10), jnp.float64)

        def outputs(inputs, kernel):
            def mean(kernel):
                return jnp.mean(loss(model.apply({"params": {"kernel": kernel}}, inputs[:16]), labels[:16]))

            found = []
            for _ in range(12):
                kernel = kernel - 1e-12 * jax.grad(mean)(kernel)
                found.append(model.apply({"params": {"kernel": kernel}}, inputs)[:, 0])
            return np.array(found)

        there, here = outputs(points, drawn), outputs(triangle.T, basis.T @ drawn)
    assert 1e-13 < np.abs(there).max() < 1e-9  # as tiny as the paper's
    np.testing.assert_allclose(here, there, rtol=1e-8, atol=1e-10 * np.abs(there).max())
    assert (np.sign(there[0]) != np.sign(there[-1])).any()  # other answers than after one step


def test_points_lie_around_the_means_of_their_labels():
    task = tasks.XorPoints(train_rows=4000, test_rows=2000, dimension=5, separation=20.0, flipped=0.0)
    x, y = (np.asarray(a) for a in (task.examples(KEY).inputs, task.examples(KEY).labels))
    np.testing.assert_array_equal(y, np.where(np.abs(x[:, 0]) > np.abs(x[:, 1]), 1, -1))
    for label, axis in ((1, 0), (-1, 1)):
        rows = x[y == label] - 20 * np.sign(x[y == label, axis])[:, None] * np.eye(5)[axis]
        np.testing.assert_allclose(np.cov(rows.T), np.eye(5), atol=0.1)
        np.testing.assert_allclose(rows.mean(0), 0, atol=0.1)


@pytest.mark.parametrize("balanced", [True, False])
def test_clusters_are_drawn_or_have_equally_many_rows(balanced):
    task = tasks.XorPoints(train_rows=200, test_rows=100, dimension=4, separation=40.0, balanced=balanced)
    x = np.asarray(task.examples(KEY).inputs)
    axis = (np.abs(x[:, 1]) > np.abs(x[:, 0])).astype(int)
    cluster = 2 * axis + (x[np.arange(300), axis] < 0)
    for rows, count in ((cluster[:200], 50), (cluster[200:], 25)):
        assert (np.bincount(rows) == count).all() == balanced


def test_xor_clusters_need_room_for_their_rows():
    with pytest.raises(jg.FieldError, match="at least the number of rows"):
        jg.Experiment(
            tasks.XorClusters(dimension=100), jg.models.FixedReadoutMLP(), jg.losses.Logistic(), jg.optimizers.SGD()
        )


def test_toy_addition_is_the_papers():
    task = tasks.ToyAddition()
    assert (task.rows(), task.outputs) == ({"train": 45, "test": 10}, 19)
    examples = task.examples(KEY)
    assert sorted(map(tuple, examples.inputs.tolist())) == [(i, j) for i in range(10) for j in range(i, 10)]
    np.testing.assert_array_equal(examples.labels, examples.inputs.sum(1))


def test_templates_stand_for_classes_and_the_nearest_is_the_answer():
    addition = tasks.ToyAddition()
    task = tasks.Templates(task=addition)
    counts, templates = {"train": jnp.int32(45)}, task.templates()
    assert (task.rows(), task.outputs, templates.shape) == (addition.rows(), 30, (19, 30))
    examples, classes = task.examples(KEY, counts, {}), addition.examples(KEY)
    np.testing.assert_array_equal(examples.inputs, classes.inputs)
    np.testing.assert_array_equal(examples.labels, templates[classes.labels])
    nearly = 0.51 * templates[classes.labels] + 0.49 * templates[(classes.labels + 1) % 19]
    assert task.correct(nearly, examples.labels).all()
    assert not task.correct(templates[(classes.labels + 1) % 19], examples.labels).any()
    again = tasks.Templates(task=addition).examples(jax.random.key(5), counts, {})
    np.testing.assert_array_equal(again.labels, templates[again.inputs.sum(1)])  # of the task, not of the run
    assert not (tasks.Templates(task=addition, templates_seed=1).templates() == templates).any()


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, train=st.integers(1, 55))
def test_known_are_the_rows_whose_class_was_trained_on(seed, train):
    known = tasks.KnownClasses(task=tasks.ToyAddition(train_fraction=train / 55 + 1e-6 if train < 55 else 1.0))
    data = loaded(known, seed)
    rows, trained = np.asarray(data.splits["train"]), np.asarray(data.labels)
    assert rows.sum() == train
    np.testing.assert_array_equal(data.splits["known"], ~rows & np.isin(trained, trained[rows]))


def test_of_what_has_no_classes_nothing_is_known_and_nothing_gets_a_template():
    for kind in (tasks.Templates, tasks.KnownClasses):
        with pytest.raises(FieldError, match=r"task\.task = 'Templates': must be a task whose labels are classes"):
            checked(kind(task=tasks.Templates(task=tasks.ToyAddition())), "task")
        with pytest.raises(FieldError, match=r"task\.task = 'LateLabels': trains on other rows than those"):
            checked(kind(task=example("late_labels").LateLabels(p=5)), "task")
    assert not tasks.has_classes(tasks.Subset(task=tasks.Templates(task=tasks.ToyAddition())))
    assert tasks.has_classes(tasks.KnownClasses(task=tasks.ToyAddition()))


@pytest.mark.parametrize("p", [3, 4, 10, 17])
def test_all_pairs_leave_offset_and_scale_free(p):
    every = np.stack(np.triu_indices(p), 1)
    assert tasks.freedom(every, p) == 2
    assert tasks.freedom(every[every[:, 0] == 0], p) == p  # each sum once: nothing is said
    lines = every[(every[:, 0] == every[:, 1]) | (every[:, 1] - every[:, 0] == 2)]  # 2 E_i = E_(i-1) + E_(i+1)
    assert tasks.freedom(lines, p) == 2
    assert tasks.freedom(lines[lines[:, 1] < p - 1], p) == 3  # nothing is said of the last


@pytest.mark.parametrize(("rows", "fraction", "train"), [(100, 0.29, 29), (50, 0.58, 29), (9409, 1e-9, 1), (7, 1.0, 7)])
def test_the_split_is_that_of_the_written_number(rows, fraction, train):
    assert tasks.train_test(rows, fraction) == {"train": train, "test": rows - train}


def loaded(task, seed=0):
    run = jg.Experiment(task, models.QuadraticMLP(4), losses.CrossEntropy(), optimizers.AdamW(), seed=seed)
    return jg.training.load(jg.training.numbers(run), jg.training.Rows.of(run))


@settings(deadline=None)
@given(
    share=st.integers(0, 1000), fraction=st.sampled_from([0.01, 0.29, 0.7, 1.0]), p=st.sampled_from([3, 11]), seed=SEEDS
)
def test_exactly_the_share_of_train_rows_is_corrupted_and_nothing_else(share, fraction, p, seed):
    task = tasks.ModularAddition(p=p, train_fraction=fraction)
    noisy = tasks.CorruptedLabels(task=task, share=share / 1000, true_may_recur=False)
    clean, data = loaded(task, seed), loaded(noisy, seed)
    corrupted, train = (np.asarray(data.splits[name]) for name in ("corrupted", "train"))
    assert corrupted.sum() == share * task.rows()["train"] // 1000
    np.testing.assert_array_equal(data.inputs, clean.inputs)
    np.testing.assert_array_equal(np.asarray(data.labels) != np.asarray(clean.labels), corrupted)
    np.testing.assert_array_equal(np.asarray(data.splits["clean"]), train & ~corrupted)
    assert not (corrupted & ~train).any()
    assert 0 <= np.min(data.labels) <= np.max(data.labels) < p


def test_new_labels_are_uniform_and_a_larger_share_keeps_those_of_a_smaller_one():
    task = tasks.ModularAddition(p=97, train_fraction=1.0)
    half, more = (loaded(tasks.CorruptedLabels(task=task, share=share)) for share in (0.5, 0.7))
    old, corrupted = np.asarray(loaded(task).labels), np.asarray(half.splits["corrupted"])
    assert (np.asarray(more.splits["corrupted"]) >= corrupted).all()
    np.testing.assert_array_equal(np.asarray(more.labels)[corrupted], np.asarray(half.labels)[corrupted])
    counts = np.bincount(np.asarray(half.labels)[corrupted], minlength=97)
    assert stats.chisquare(counts).pvalue > 1e-3
    recurring = (np.asarray(half.labels) == old)[corrupted].sum()
    assert stats.binomtest(int(recurring), int(corrupted.sum()), 1 / 97).pvalue > 1e-3
    places = np.flatnonzero(corrupted) / len(corrupted)  # and the rows lie anywhere among the train rows
    assert stats.kstest(places, "uniform").pvalue > 1e-3


def test_only_classes_can_be_corrupted_and_only_once():
    with pytest.raises(FieldError, match=r"task\.task = 'CorruptedLabels': is corrupted already"):
        checked(tasks.CorruptedLabels(task=tasks.CorruptedLabels(task=tasks.ModularAddition())), "task")
    with pytest.raises(FieldError, match=r"task\.task = 'Templates': must be a task whose labels are classes"):
        checked(tasks.CorruptedLabels(task=tasks.Templates(task=tasks.ToyAddition())), "task")
    with pytest.raises(FieldError, match=r"task\.task = None: must be a component of the kind task"):
        checked(tasks.CorruptedLabels(task=None), "task")
    with pytest.raises(FieldError, match=r"task\.share = 1\.5"):
        checked(tasks.CorruptedLabels(task=tasks.ModularAddition(), share=1.5), "task")


@flax.struct.dataclass
class Vectors(jg.Regression):
    """Two numbers for each of five numbers; rows may have weights."""

    weighted: bool = jg.static(False)
    outputs: int = jg.static(2)

    def rows(self):
        return {"train": 20, "test": 30}

    def examples(self, key):
        x, y = jax.random.normal(key, (50, 5), jnp.float32), jax.random.normal(key, (50, 2), jnp.float32) + 3
        return jg.Examples(x, y, weights=jnp.arange(50, dtype=jnp.float32) % 3 if self.weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_and_error_by_hand(weighted):
    run = jg.Experiment(
        Vectors(weighted=weighted),
        models.MLP(width=4),
        losses.MeanSquaredError(),
        optimizers.AdamW(),
        jg.Training(steps=20, evaluate_every=10, stop_metric="r2"),
    )
    values = jg.training.numbers(run)
    data = jg.training.load(values, jg.training.Rows.of(run))
    state = jg.training.init(values, data)
    measured, _ = jg.training.evaluate(values, data, state)
    outputs, labels = (np.asarray(a) for a in (jg.training.apply(values, state.params, data.inputs), data.labels))
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 50))):
        weights = (np.arange(50) % 3 if weighted else np.ones(50))[part]
        error = np.average(np.mean((outputs - labels)[part] ** 2, 1), weights=weights)
        centre = np.average(labels[part], axis=0, weights=weights)
        spread = np.average(np.mean((labels[part] - centre) ** 2, 1), weights=weights)
        np.testing.assert_allclose(measured[f"{split}/error"], error, rtol=1e-5)
        np.testing.assert_allclose(measured[f"{split}/r2"], 1 - error / spread, rtol=1e-4)
        np.testing.assert_allclose(measured[f"{split}/loss"], error, rtol=1e-5)
