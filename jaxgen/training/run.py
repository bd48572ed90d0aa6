"""Training of ONE run: initialisation, a step, an evaluation. Nothing here knows of lanes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import kinds, models, starts
from jaxgen.errors import FieldError
from jaxgen.kinds import Given, Tree
from jaxgen.losses import of_step
from jaxgen.optimizers import transform_of
from jaxgen.optimizers.parts import same_bits
from jaxgen.paths import by_name
from jaxgen.probes.evaluation import Evaluation, masked_mean, masked_sums, measured_by, remembers
from jaxgen.starts import Fit, is_continuing, masked, parent
from jaxgen.training.data import (
    DATA,
    INIT,
    NOISE,
    Data,
    Passes,
    Rows,
    Slices,
    buckets,
    load,
    ordered,
    stream,
    unordered,
)
from jaxgen.training.numerics import compiler_options, numbers, numerics

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment


STEPS, SLICES = "steps", "slices"  # what profiles and compiled programs call the loops over them


@flax.struct.dataclass
class State:
    """What training changes.

    Attributes:
      params: the parameters.
      opt_state: the optimizer's state.
      step: how many were made, int32.
      kept: what the network keeps beside its parameters, by flax collection ("batch_stats").
      memory: what probes carry from one evaluation to the next, by their place in `training.probes`.
      mask: like `params`, bool: weights that are not removed; None: none is.
    """

    params: optax.Params
    opt_state: optax.OptState
    step: jax.Array
    kept: Mapping[str, Tree] = flax.struct.field(default_factory=dict)
    memory: Mapping[str, Tree] = flax.struct.field(default_factory=dict)
    mask: optax.Params | None = None


def forward(
    experiment: "Experiment",
    params: optax.Params,
    kept: Mapping[str, Tree],
    inputs: jax.Array,
    step: jax.Array | None = None,
    mask: jax.Array | None = None,
    bucket: int = 0,
) -> tuple[jax.Array, Mapping[str, Tree]]:
    """The network's outputs (rows, …, outputs), and what it keeps: in evaluations or, given a step, in training.

    A network whose `__call__` takes `train` is told, and has random numbers under the name "dropout", of the run's
    seed, the step, and the bucket where a step has several. One that takes `mask` is told in training which of the
    rows count, bool (rows,), and None elsewhere.
    """
    network: Callable = models.bind(experiment.model, experiment.task).apply
    trains = step is not None and (bool(kept) or models.is_random(experiment.model))
    told = models.told(experiment.model, trains, mask)
    variables = {"params": params, **kept}
    if step is None or not trains:
        return network(variables, inputs, **told), kept
    key = jax.random.fold_in(stream(experiment.seed, NOISE), step)
    rngs = {"dropout": jax.random.fold_in(key, bucket) if bucket else key}
    if not kept:
        return network(variables, inputs, rngs=rngs, **told), kept
    return network(variables, inputs, rngs=rngs, mutable=list(kept), **told)


def apply(
    experiment: "Experiment",
    params: optax.Params,
    inputs: jax.Array,
    step: jax.Array | None = None,
    kept: Mapping[str, Tree] | None = None,
) -> jax.Array:
    """The network's outputs, see `forward`."""
    return forward(experiment, params, kept or {}, inputs, step)[0]


def optimizer(experiment: "Experiment") -> optax.GradientTransformation:
    """The run's optax optimizer. Traced hyperparameters meet optax's integer step count: promotion is its own there."""
    chain = transform_of(experiment.optimizer, models.groups(experiment.model))

    def update(gradients, state, params):
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(gradients, state, params)

    return optax.GradientTransformation(chain.init, update)


def variables(experiment: "Experiment", data: Data) -> Mapping[str, Tree]:
    """What flax makes for the network, by collection, drawn from the seed."""
    init: Callable = models.bind(experiment.model, experiment.task).init
    told = models.told(experiment.model, False, None)
    return init(stream(experiment.seed, INIT), data.inputs[:1], **told)


def fit(experiment: "Experiment", data: Data, kept: Mapping[str, Tree]) -> Fit:
    """What a start sees of the train rows, with what the network keeps beside its parameters."""
    inputs, labels, train, weights = data.full_batch()

    def loss(outputs):
        scaled = experiment.training.logit_scale * outputs
        return masked_mean(of_step(experiment.loss, scaled, labels, jnp.int32(0)), train, weights)

    return Fit(
        network=lambda params, inputs: apply(experiment, params, inputs, kept=kept),
        loss=loss,
        inputs=inputs,
        labels=labels,
        train=train,
        weights=weights,
        vocabulary=experiment.task.vocabulary,
    )


def begun(
    experiment: "Experiment", data: Data, given: Given | None = None
) -> tuple[optax.Params, Mapping[str, Tree], optax.Params | None]:
    """Parameters drawn from the seed, in the training dtype, and what is kept beside them, changed by the start.

    And which weights are not removed. A run that starts from another has `given`, what that one ended with (see
    `start_shapes`).
    """

    def cast(w):
        return w.astype(experiment.training.dtype) if jnp.issubdtype(w.dtype, jnp.floating) else w

    kept = jax.tree.map(cast, dict(variables(experiment, data)))
    params, mask = kept.pop("params"), None
    if experiment.start is not None:
        params, mask = experiment.start.weights(params, given, fit(experiment, data, kept))
    if given and is_continuing(experiment.start):
        kept = experiment.start.beside(kept, given["kept"])
    return params, kept, mask


def init(experiment: "Experiment", data: Data, given: Given | None = None) -> State:
    """A run as it begins (see `begun`), with a fresh optimizer state, or the one that it is given."""
    params, kept, mask = begun(experiment, data, given)
    opt_state = given["opt_state"] if given and "opt_state" in given else optimizer(experiment).init(params)
    state = State(params, opt_state, jnp.int32(0), kept, mask=mask)
    remembering = {str(i): p for i, p in enumerate(experiment.training.probes) if remembers(p)}
    seen = evaluation(experiment, data, state)
    return dataclasses.replace(state, memory={place: probe.init(seen) for place, probe in remembering.items()})


def start_shapes(experiment: "Experiment") -> Given:
    """Shapes of what a run is given to start with: weights, what the network keeps, the optimizer's state if kept.

    And what the probes of the run that it starts from keep for it, as "held". Nothing where it starts from its seed.
    """
    if not is_continuing(experiment.start):
        return {}
    given: Given = {"held": held_shapes(experiment)}
    fresh = shapes(experiment.override({"start": None}), given)[1]
    given |= {"params": fresh.params, "kept": fresh.kept}
    return given | ({"opt_state": fresh.opt_state} if experiment.start.keep_optimizer else {})


def held_shapes(experiment: "Experiment") -> dict[str, jax.Array]:
    """Shapes of what the probes of the run that a run starts from keep for it; nothing where there is no such run."""
    first = parent(experiment)
    if first is None:
        return {}
    with numerics(first):
        return jax.eval_shape(functools.partial(held, first), shapes(first)[1])


def held(experiment: "Experiment", state: State) -> dict[str, jax.Array]:
    """What the probes of a run keep for runs that start from it, by name: arrays of their memory."""
    probes = [(str(place), probe) for place, probe in enumerate(experiment.training.probes)]
    found: dict[str, jax.Array] = {}
    for place, probe in probes:
        kept = probe.keeps(state.memory[place]) if hasattr(probe, "keeps") else {}
        for twice in found.keys() & kept.keys():
            why = f"keeps {twice!r} as another probe does: give another name"
            raise FieldError("training.probes", type(probe).__name__, why)
        found |= kept
    return found


def named(experiment: "Experiment", state: State) -> dict[str, np.ndarray]:
    """What runs that start from one that ended so may be given, by name ("params.Linear_0.kernel")."""
    trees = {"params": state.params, "kept": state.kept, "opt_state": state.opt_state}
    return by_name({**trees, "held": held(experiment, state)})


def shapes(experiment: "Experiment", given: Given | None = None) -> tuple[Data, State, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a run's rows, of its fresh state and of its outputs on all rows. Nothing is computed.

    `given`: shapes of what it starts with, those of `start_shapes` where there are none.
    """
    values, rows = numbers(experiment), Rows.of(experiment)
    with numerics(experiment):
        given = start_shapes(experiment) if given is None else given
        data = jax.eval_shape(load, values, rows, given)
        state = jax.eval_shape(init, values, data, given)
        return data, state, jax.eval_shape(apply, values, state.params, data.inputs, kept=state.kept)


def decaying(experiment: "Experiment") -> tuple[int, int] | None:
    """How many parameters the weight decay acts on, and how many there are; None if the optimizer cannot say."""
    if not hasattr(experiment.optimizer, "decaying"):
        return None
    params = shapes(experiment)[1].params
    acts = experiment.optimizer.decaying(params, models.groups(experiment.model))
    if acts is None:
        return None
    sizes = jax.tree.leaves(jax.tree.map(lambda w: w.size, params))
    return sum(size for size, on in zip(sizes, jax.tree.leaves(acts)) if on), sum(sizes)


def gradient(experiment: "Experiment", data: Data, state: State) -> tuple[optax.Updates, Mapping[str, Tree]]:
    """The gradient of the mean loss Σ w ℓ / Σ w of the next batch, with outputs times `training.logit_scale`.

    And what the network keeps after it.
    """
    drawn = buckets(experiment, data, state.step)

    def losses(params, kept, rows, bucket=0):
        inputs, labels, mask, _ = rows
        outputs, kept = forward(experiment, params, kept, inputs, state.step, mask, bucket)
        return of_step(experiment.loss, outputs * experiment.training.logit_scale, labels, state.step), kept

    def mean(params):
        sums, kept = [], state.kept
        for bucket, rows in enumerate(drawn):
            found, kept = losses(params, kept, rows, bucket)
            sums.append(masked_sums(found, rows.mask, rows.weights))
        total, weight = (functools.reduce(jnp.add, parts) for parts in zip(*sums))
        return total / weight, kept

    if data.passes is None or state.kept:
        return jax.grad(mean, has_aux=True)(state.params)
    (rows,) = drawn
    return in_passes(lambda params, some: losses(params, {}, some)[0], state.params, rows, data.passes), state.kept


def in_passes(
    losses: Callable[..., jax.Array], params: optax.Params, rows: tuple, passes: Passes | Slices
) -> optax.Updates:
    """The gradient of Σ w ℓ / Σ w as the sum over passes of the gradients of their shares.

    Args:
      losses: from parameters and some rows to a loss for each label.
      params: the parameters.
      rows: inputs, labels, mask, weights (or None) of all rows; those of the mask are the first.
      passes: which are made, and of how many rows.
    """
    count = len(rows[0])

    def part(size, first):
        start = jnp.minimum(first, count - size)
        inputs, labels, mask, weights = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), rows)
        new = start + jnp.arange(size, dtype=jnp.int32) >= first  # at the end of the table the last pass starts earlier
        return inputs, labels, mask & new, weights

    each = jax.eval_shape(losses, params, rows)
    whole = masked_sums(jnp.zeros(each.shape, each.dtype), *rows[2:])[1]

    def share(params, rows):
        return masked_sums(losses(params, rows), *rows[2:])[0] / whole

    def add(size, carry):
        first, total = carry
        found = jax.grad(share)(params, part(size, first))
        return first + size, jax.tree.map(jnp.add, total, found)

    zeros = jax.tree.map(jnp.zeros_like, params)
    if isinstance(passes, Slices):
        return _in_slices(lambda first: jax.grad(share)(params, part(passes.size, first)), zeros, passes)
    carry = jnp.int32(0), zeros
    for i, size in enumerate(passes.sizes):
        one = functools.partial(add, size)
        if passes.branch:
            carry = jax.lax.cond(passes.made[i] > 0, one, lambda carry: carry, carry)
        else:
            carry = jax.lax.fori_loop(0, passes.made[i], lambda _, carry: one(carry), carry)  # noqa: B023
    return carry[1]


def _in_slices(gradient: Callable[[jax.Array], optax.Updates], zeros: optax.Updates, slices: Slices) -> optax.Updates:
    """The sum of the gradients of the slices that a run needs, by the first row of each."""
    needed = slices.made if slices.lanes is None else jax.lax.pmax(slices.made, slices.lanes)

    def add(i, total):
        more = jax.tree.map(jnp.add, total, gradient(i * slices.size))
        return jax.tree.map(lambda a, b: jnp.where(i < slices.made, a, b), more, total)

    with jax.named_scope(SLICES):
        return jax.lax.fori_loop(0, needed, add, zeros)


def step(experiment: "Experiment", data: Data, state: State) -> State:
    """One update of the parameters."""
    gradients, kept = gradient(experiment, data, state)
    updates, opt_state = optimizer(experiment).update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if state.mask is not None:
        params = masked(params, state.mask)
    return State(params, opt_state, state.step + 1, kept, state.memory, state.mask)


def evaluation(experiment: "Experiment", data: Data, state: State) -> Evaluation:
    """What probes see of the run."""
    descend = functools.cache(lambda: gradient(experiment, data, state)[0])
    return Evaluation(
        experiment=experiment,
        params=state.params,
        inputs=data.inputs,
        labels=data.labels,
        splits=data.splits,
        weights=data.weights,
        key=stream(experiment.drawn_from, DATA),
        step=state.step,
        opt_state=state.opt_state,
        network=lambda inputs, params=state.params: apply(experiment, params, inputs, kept=state.kept),
        gradient=descend,
        update=functools.cache(lambda: optimizer(experiment).update(descend(), state.opt_state, state.params)[0]),
        initial=functools.cache(lambda: begun(experiment, data)[0]),
        again=functools.partial(evaluation, experiment, data, state),
    )


def evaluate(experiment: "Experiment", data: Data, state: State) -> tuple[dict[str, jax.Array], State]:
    """Every probe of the run, by name, in the training dtype; and the state with what probes remember of it."""
    seen, memory = evaluation(experiment, data, state), dict(state.memory)
    measured: dict[str, jax.Array] = {}
    for place, probe in enumerate(experiment.training.probes):
        name, own = type(probe).__name__, memory.get(str(place))
        found, own = measured_by(probe, seen, own)
        if remembers(probe):
            memory[str(place)] = own
        for twice in measured.keys() & found.keys():
            raise FieldError("training.probes", name, f"measures {twice!r} as another probe does: give another name")
        measured |= found
    return measured, dataclasses.replace(state, memory=memory)


def interval(
    experiment: "Experiment", data: Data, state: State, steps: jax.typing.ArrayLike
) -> tuple[State, dict[str, jax.Array]]:
    """So many steps, and an evaluation after them."""

    def one(_, carry):
        state, order = carry
        rows = data if order is None else ordered(experiment, data, state.step, order)
        return step(experiment, rows, state), rows.order

    with jax.named_scope(STEPS):
        state, _ = jax.lax.fori_loop(0, steps, one, (state, unordered(experiment, data)))
    measured, state = evaluate(experiment, data, state)
    return state, measured


def opening(experiment: "Experiment") -> np.ndarray:
    """The steps of the first evaluations, int32: 0 or, with `evaluate_early`, 0, 1, 2, 4, … and `evaluate_every`."""
    t = experiment.training
    powers = [1 << k for k in range(t.evaluate_every.bit_length()) if 1 << k < t.evaluate_every]
    return np.array([0, *powers, t.evaluate_every] if t.evaluate_early else [0], np.int32)


def begin(experiment: "Experiment", data: Data, given: Given | None = None) -> tuple[State, dict[str, jax.Array]]:
    """A fresh run through its `opening`: its state at the end of it, and every probe (evaluations, …)."""
    first, state = evaluate(experiment, data, init(experiment, data, given))
    first = jax.tree.map(lambda m: m[None], first)
    if not experiment.training.evaluate_early:
        return state, first
    gaps = np.diff(opening(experiment))
    state, later = jax.lax.scan(lambda state, steps: interval(experiment, data, state, steps), state, gaps)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, later)


def frozen(experiment: "Experiment", data: Data, state: State) -> jax.Array:
    """Whether it is proved that no later step changes the network: one step changes no bit of it, and stays so."""
    following = step(experiment, data, state)
    unchanged = same_bits((state.params, state.kept), (following.params, following.kept))
    resting = cast(kinds.Resting, experiment.optimizer)  # or `stop_frozen` is refused
    return unchanged & resting.at_rest(state.opt_state, following.opt_state)


def train(experiment: "Experiment") -> dict[str, np.ndarray]:
    """Trains one run to its budget, plainly, and returns its curves.

    Returns:
      "step" and every probe by name, each (evaluations, …): at the steps of the `opening` and every `evaluate_every`
      steps. The stop rule is not applied.
    """

    return trained(experiment)[0]


def trained(experiment: "Experiment") -> tuple[dict[str, np.ndarray], State]:
    """The curves of one run, trained plainly to its budget, and its state then; its parent is trained first."""

    @functools.partial(jax.jit, static_argnums=3, compiler_options=compiler_options())
    def curves(experiment, rows, given, evaluations):
        data, every = load(experiment, rows, given), experiment.training.evaluate_every
        state, first = begin(experiment, data, given)
        state, later = jax.lax.scan(lambda s, _: interval(experiment, data, s, every), state, length=evaluations)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, later), state

    given, first = Given(), parent(experiment)
    if first is not None:
        given = starts.given(experiment, start_shapes(experiment), named(first, trained(first)[1]))

    rows = Rows.of(experiment).exactly(experiment.task.rows()["train"])
    with numerics(experiment):
        t, early = experiment.training, opening(experiment)
        evaluations = (t.steps - int(early[-1])) // t.evaluate_every
        measured, state = jax.device_get(curves(numbers(experiment), rows, given, evaluations))
    later = early[-1] + t.evaluate_every * np.arange(1, evaluations + 1, dtype=np.int32)
    return {"step": np.concatenate([early, later]), **measured}, state
