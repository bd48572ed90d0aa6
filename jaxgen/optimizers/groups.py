"""Named groups of parameters, each with its own optimizer."""

import inspect
from collections.abc import Callable, Mapping

import flax.struct
import jax
import optax

from jaxgen import kinds
from jaxgen.components import part, static
from jaxgen.errors import FieldError
from jaxgen.paths import in_group, name_of


@flax.struct.dataclass
class Groups:
    """`groups[name]` for the parameters of each named group, `default` for all others (`optax.partition`).

    A group's parameters are those whose path ("Linear_0.kernel") a pattern of its name matches: in `patterns`, or else
    in what the network declares, as in `groups = {"embeddings": ("embedding", "positions")}`.

    Attributes:
      default: an optimizer.
      groups: optimizers by name.
      patterns: pairs (name, pattern): a path, or the first names of one, with * and ? as in file names.
    """

    default: kinds.Optimizer = part("optimizer", doc="of all other parameters")
    groups: Mapping[str, kinds.Optimizer] = part("optimizer", doc="optimizers by name of the group")
    patterns: tuple = static((), doc='pairs of a name and a pattern, (("readout", "Linear_1"),)')

    def check(self) -> None:
        """FieldError where groups have no names or patterns no group."""
        if not isinstance(self.groups, Mapping) or not self.groups:
            raise FieldError("groups", self.groups, 'must be a table of optimizers by name: {"embeddings": …}')
        for pair in self.patterns:
            if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
                raise FieldError("patterns", pair, 'must be pairs of texts: (("readout", "Linear_1"),)')
            if pair[0] not in self.groups:
                raise FieldError("patterns", pair[0], f"is none of the groups {', '.join(self.groups)}")

    def decaying(self, params: optax.Params, groups: Mapping[str, tuple[str, ...]]) -> optax.Params | None:
        """Which of the parameters the decay of their group's optimizer acts on: bools; None if one cannot say."""
        masks = {n: m.decaying(params, groups) for n, m in self._members().items() if hasattr(m, "decaying")}
        if len(masks) <= len(self.groups) or None in masks.values():
            return None
        pick = lambda label, *some: dict(zip(masks, some))[label]  # noqa: E731
        return jax.tree.map(pick, self._labels(params, groups), *masks.values())

    def _members(self) -> dict[str, kinds.Optimizer]:
        return {"": self.default, **self.groups}

    def transform(self, groups: Mapping[str, tuple[str, ...]] | None = None) -> optax.GradientTransformation:
        """The optimizers together.

        Args:
          groups: the network's own patterns by name.

        Raises:
          FieldError: a group is nowhere declared, has no parameters, or shares one with another; on `init`.
        """
        return optax.partition(
            {name: transform_of(member, groups) for name, member in self._members().items()},
            lambda params: self._labels(params, groups or {}),
        )

    def _labels(self, params: optax.Params, declared: Mapping[str, tuple[str, ...]]) -> optax.Params:
        patterns = {name: [p for n, p in self.patterns if n == name] or declared.get(name) for name in self.groups}
        found = set()

        def label(path, _) -> str:
            own = name_of(path)
            names = [name for name, some in patterns.items() if in_group(own, some or ())]
            if len(names) > 1:
                raise FieldError("optimizer.groups", own, f"is in more than one group: {', '.join(names)}")
            found.update(names)
            return names[0] if names else ""

        labels = jax.tree_util.tree_map_with_path(label, params)
        for name in self.groups:
            if patterns[name] is None:
                known = f"it declares {', '.join(declared)}" if declared else "it declares none"
                why = f'is no group of the network ({known}): say which, patterns=(("{name}", "…"),)'
                raise FieldError("optimizer.groups", name, why)
            if name not in found:
                raise FieldError(f"optimizer.groups.{name}", list(patterns[name] or ()), "matches no parameter")
        return labels


def transform_of(
    optimizer: kinds.Optimizer, groups: Mapping[str, tuple[str, ...]] | None
) -> optax.GradientTransformation:
    """`optimizer.transform`, with the network's groups where it takes them."""
    transform: Callable[..., optax.GradientTransformation] = optimizer.transform
    return transform(groups) if "groups" in inspect.signature(transform).parameters else transform()
