"""Strings that are answered by strings, of lengths that are not trained on (Zhou et al. 2023, arXiv 2310.16028).

A row is tokens: start, prompt, separator, answer, end, right-padded. At each position the label is the next token; only
those of the answer and of the end have weight. All are streams; the tables of evaluations are drawn in the same way.
"""

from typing import TYPE_CHECKING

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples
from jaxgen.tasks.texts import Texts, next_tokens

FRAME = 3  # start, separator, end


class Said(Texts):
    """Base of tasks whose rows are a prompt and its answer.

    Tokens are the symbols from 0, then start, separator, end and padding.

    Attributes:
      symbols: how many there are.
    """

    if TYPE_CHECKING:

        @property
        def symbols(self) -> int: ...

    @property
    def vocabulary(self) -> int:
        return self.symbols + 4

    def room(self, length: int) -> tuple[int, int]:
        """Tokens of the prompt, and at most of the answer, of a string of this length."""
        return length, length

    def answer(self, prompt: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The answer to a prompt (tokens,) of a string of this length, right-padded, and how many tokens it has."""
        raise NotImplementedError

    def said(self, prompts: jax.Array, lengths: jax.Array, longest: int) -> Examples:
        """The rows of prompts (rows, tokens), all padded to what a string of length `longest` may need."""
        asked = jnp.asarray([self.room(n)[0] for n in range(longest + 1)], jnp.int32)[lengths][:, None]
        answers, count = jax.vmap(self.answer)(prompts, lengths)
        place = jnp.arange(sum(self.room(longest)) + FRAME, dtype=jnp.int32)[None]
        behind = place - asked - 2  # place within the answer
        end = count[:, None]
        start, separator, stop, padding = (jnp.int32(self.symbols + i) for i in range(4))
        tokens = jnp.where(behind == end, stop, padding)
        tokens = jnp.where((behind >= 0) & (behind < end), _at(answers, behind), tokens)
        tokens = jnp.where(behind == -1, separator, tokens)
        tokens = jnp.where(behind < -1, _at(prompts, place - 1), tokens)
        tokens = jnp.where(place == 0, start, tokens)
        return next_tokens(tokens, {}, ((behind >= 0) & (behind <= end))[:, 1:])


@flax.struct.dataclass
class Strings(Said):
    """Base of tasks of strings of many lengths; a subclass has `symbols`, `prompt` and `answer`.

    Train rows have lengths from `shortest` to `longest`, test rows from there to `furthest`; the tables have
    `rows_each` of each. Splits beside "train" and "test": "length_7" and so on. "train" is of fresh rows too: that it
    is right says that a network generalises in distribution.

    Attributes:
      shortest, longest: of the strings that are trained on, uniformly.
      furthest: of the test rows.
      rows_each: rows of each length that are evaluated.
      buckets: a step's rows are computed in so many, of as many lengths and rows each: the shorter ones need no
        padding to the longest. Lengths must be uniform, and then are so still.
    """

    shortest: int = static(1, "[1, 10000]", "shortest string")
    longest: int = static(10, "[1, 10000]", "longest string that is trained on")
    furthest: int = static(20, "[2, 10000]", "longest string that is tested on")
    rows_each: int = static(32, "[1, 1000000]", "rows of each length in evaluations")
    buckets: int = static(1, "[1, 100]", "of different lengths, that a step's rows are computed in")

    def check(self):
        if (self.longest - self.shortest + 1) % self.buckets:
            allowed = f"must divide the {self.longest - self.shortest + 1} lengths that are trained on"
            raise FieldError("buckets", self.buckets, allowed)
        if not self.shortest <= self.longest < self.furthest:
            allowed = f"must be from shortest = {self.shortest} to below furthest = {self.furthest}"
            raise FieldError("longest", self.longest, allowed)

    def prompt(self, key: jax.Array, length: jax.Array, longest: int) -> jax.Array:
        """The prompt of a string of this length, with room for one of length `longest`, (tokens,)."""
        raise NotImplementedError

    def lengths(self, key: jax.Array, rows: int) -> jax.Array:
        """Lengths of so many train rows."""
        return jax.random.randint(key, (rows,), self.shortest, self.longest + 1, jnp.int32)

    def rows(self):
        train, test = self.longest - self.shortest + 1, self.furthest - self.longest
        return {"train": train * self.rows_each, "test": test * self.rows_each}

    def examples(self, key):
        each = range(self.shortest, self.furthest + 1)
        lengths = jnp.repeat(jnp.asarray(each, jnp.int32), self.rows_each)
        splits = {f"length_{n}": lengths == n for n in each}
        return self._drawn(key, lengths, self.furthest).replace(splits=splits)

    def draw(self, key: jax.Array, step: jax.Array, rows: int) -> Examples | tuple[Examples, ...]:
        """Train rows of one step, padded to what the longest of their bucket may need."""
        del step
        of_lengths, of_rows = jax.random.split(key)
        if self.buckets == 1:
            return self._drawn(of_rows, self.lengths(of_lengths, rows), self.longest)
        if rows % self.buckets:
            raise FieldError("task.buckets", self.buckets, f"must divide the {rows} rows of a step")
        size, each = (self.longest - self.shortest + 1) // self.buckets, rows // self.buckets
        within = jax.random.randint(of_lengths, (self.buckets, each), 0, size, jnp.int32)
        ends = [self.shortest + size * (i + 1) - 1 for i in range(self.buckets)]
        keys = jax.random.split(of_rows, self.buckets)
        return tuple(self._drawn(key, end - some, end) for key, end, some in zip(keys, ends, within))

    def _drawn(self, key: jax.Array, lengths: jax.Array, longest: int) -> Examples:
        keys = jax.random.split(key, len(lengths))
        prompts = jax.vmap(lambda key, length: self.prompt(key, length, longest))(keys, lengths)
        return self.said(prompts, lengths, longest)


@flax.struct.dataclass
class CopyString(Strings):
    """The prompt's symbols again, in one of several orders.

    Attributes:
      alphabet: different symbols.
      drawn: "any": each uniformly; "distinct": no symbol twice; "one": one symbol, repeated (Kazemnejad et al. 2023).
      order: "same", "reversed", or "sorted" from the lowest.
      times: how often all of that is said.
    """

    alphabet: int = static(32, "[1, 100000]", "different symbols")
    drawn: str = static("any", ("any", "distinct", "one"), "which symbols a string has")
    order: str = static("same", ("same", "reversed", "sorted"), "order in which they are said again")
    times: int = static(1, "[1, 100]", "how often they are said again")

    def check(self):
        Strings.check(self)
        if self.drawn == "distinct" and self.alphabet < self.furthest:
            raise FieldError("alphabet", self.alphabet, f"must be at least furthest = {self.furthest}")

    @property
    def symbols(self) -> int:
        return self.alphabet

    def room(self, length):
        return length, self.times * length

    def prompt(self, key, length, longest):
        if self.drawn == "distinct":
            return _shuffled(key, self.alphabet)[:longest]
        shape = (longest,) if self.drawn == "any" else (1,)
        return jnp.broadcast_to(jax.random.randint(key, shape, 0, self.alphabet, jnp.int32), (longest,))

    def answer(self, prompt, length):
        place = jnp.arange(len(prompt), dtype=jnp.int32)
        if self.order == "reversed":
            prompt = _at(prompt, length - 1 - place)
        elif self.order == "sorted":
            prompt = jnp.sort(jnp.where(place < length, prompt, self.alphabet))
        again = jnp.arange(self.times * len(prompt), dtype=jnp.int32) % length
        return prompt[again], self.times * length


@flax.struct.dataclass
class CountUp(Strings):
    """The numbers from a to b: a b is answered by a a+1 … b, a string of length b - a + 1; each number is a symbol.

    Attributes:
      numbers: they are from 0 to below this.
      uniform: what is uniform among train rows, "lengths", with a uniform for each, or "pairs" (a, b) of the trained
        lengths: then the share of length n is proportional to numbers - n + 1.
    """

    numbers: int = static(64, "[2, 100000]", "different numbers")
    uniform: str = static("lengths", ("lengths", "pairs"), "what is uniform among train rows")

    def check(self):
        Strings.check(self)
        if self.numbers < self.furthest:
            raise FieldError("numbers", self.numbers, f"must be at least furthest = {self.furthest}")
        if self.buckets > 1 and self.uniform != "lengths":
            raise FieldError("buckets", self.buckets, "must be 1 where pairs are uniform, and lengths are not")

    @property
    def symbols(self) -> int:
        return self.numbers

    def room(self, length):
        return 2, length

    def lengths(self, key, rows):
        if self.uniform == "lengths":
            return Strings.lengths(self, key, rows)
        pairs = jnp.asarray([self.numbers - n + 1 for n in range(self.shortest, self.longest + 1)], jnp.float32)
        return self.shortest + jax.random.categorical(key, jnp.log(pairs), shape=(rows,)).astype(jnp.int32)

    def prompt(self, key, length, longest):
        del longest
        first = jax.random.randint(key, (), 0, self.numbers - length + 1, jnp.int32)
        return jnp.stack([first, first + length - 1])

    def answer(self, prompt, length):
        return prompt[0] + jnp.arange(self.furthest, dtype=jnp.int32), length


@flax.struct.dataclass
class StringMode(Strings):
    """The most frequent symbol of a string of few different ones; there is always a single one.

    Symbols are uniform among `kinds` that are drawn for each string; where several are most frequent, the first place
    that holds another of them is given to the one that was drawn first.

    Attributes:
      alphabet: different symbols.
      kinds: of them that a string is made of.
    """

    alphabet: int = static(52, "[1, 100000]", "different symbols")
    kinds: int = static(5, "[1, 1000]", "different symbols of a string, at most")

    def check(self):
        Strings.check(self)
        if self.kinds > self.alphabet:
            raise FieldError("kinds", self.kinds, f"must be at most alphabet = {self.alphabet}")

    @property
    def symbols(self) -> int:
        return self.alphabet

    def room(self, length):
        return length, 1

    def prompt(self, key, length, longest):
        of_kinds, of_places = jax.random.split(key)
        drawn = jax.random.randint(of_places, (longest,), 0, self.kinds, jnp.int32)
        place = jnp.arange(longest, dtype=jnp.int32)
        kind = jnp.arange(self.kinds, dtype=jnp.int32)[:, None]
        count = jnp.sum((drawn[None] == kind) & (place < length)[None], axis=1, dtype=jnp.int32)
        most = jnp.argmax(count).astype(jnp.int32)
        tied = (place < length) & (count[drawn] == count[most]) & (drawn != most)
        drawn = jnp.where(tied & (place == jnp.argmax(tied).astype(jnp.int32)), most, drawn)
        return _shuffled(of_kinds, self.alphabet)[drawn]

    def answer(self, prompt, length):
        there = jnp.arange(len(prompt), dtype=jnp.int32) < length
        count = jnp.sum((prompt[:, None] == prompt[None]) & there[None], axis=1, dtype=jnp.int32)
        return prompt[jnp.argmax(jnp.where(there, count, 0))][None], jnp.int32(1)


@flax.struct.dataclass
class StringParity(Strings):
    """The parity of bits, at once or with a scratchpad.

    With hints, token h + i stands before bit i, h drawn for each string; the answer has the hint of each 1 and the
    parity of the bits so far, then the parity of all: h 0 h+1 1 h+2 1 is answered by h+1 1 h+2 0 0.

    Attributes:
      hints: different hints, as symbols after 0 and 1; 0: there are none, the answer is the parity.
    """

    hints: int = static(0, "[0, 100000]", "different hints of places; 0: no scratchpad")

    def check(self):
        Strings.check(self)
        if 0 < self.hints < self.furthest:
            raise FieldError("hints", self.hints, f"must be 0 or at least furthest = {self.furthest}")

    @property
    def symbols(self) -> int:
        return 2 + self.hints

    def room(self, length):
        return (2 * length, 2 * length + 1) if self.hints else (length, 1)

    def prompt(self, key, length, longest):
        of_bits, of_hints = jax.random.split(key)
        bits = jax.random.bernoulli(of_bits, shape=(longest,)).astype(jnp.int32)
        if not self.hints:
            return bits
        first = jax.random.randint(of_hints, (), 2, 2 + self.hints - length + 1, jnp.int32)
        return _interleaved(first + jnp.arange(longest, dtype=jnp.int32), bits)

    def answer(self, prompt, length):
        bits = prompt[1::2] if self.hints else prompt
        place = jnp.arange(len(bits), dtype=jnp.int32)
        bits = jnp.where(place < length, bits, 0)
        so_far = jnp.cumsum(bits, dtype=jnp.int32) % 2
        if not self.hints:
            return so_far[-1:], jnp.int32(1)
        ones = jnp.argsort(jnp.where(bits == 1, place, len(bits) + place)).astype(jnp.int32)
        work = jnp.pad(_interleaved(prompt[::2][ones], so_far[ones]), (0, 1))
        count = 2 * jnp.sum(bits, dtype=jnp.int32)
        return jnp.where(jnp.arange(len(work), dtype=jnp.int32) == count, so_far[-1], work), count + 1


@flax.struct.dataclass
class Conjunction(Said):
    """Whether all bits are 1, where some of them are always 1 in training.

    Of train rows half are all ones; the others have 1, 2, … zeros, uniformly, among all but the last `constant` bits.
    Test rows have them among these only: the answer is 0, where the interpolator of least degree, which ignores bits
    that are constant, says 1. Splits beside "train" and "test": "ones" and "zeros", the train rows by their answer.

    Attributes:
      bits: of a string.
      constant: of them, the last ones, that are always 1 in training.
      evaluated: rows of each split that are evaluated.
    """

    bits: int = static(20, "[2, 10000]", "bits of a string")
    constant: int = static(5, "[1, 10000]", "bits, the last ones, that are always 1 in training")
    evaluated: int = static(256, "[2, 1000000]", "rows of each split in evaluations")
    symbols = 2

    def check(self):
        if self.constant >= self.bits:
            raise FieldError("constant", self.constant, f"must be below bits = {self.bits}")

    def room(self, length):
        return length, 1

    def answer(self, prompt, length):
        del length
        return jnp.min(prompt, keepdims=True), jnp.int32(1)

    def rows(self):
        return {"train": self.evaluated, "test": self.evaluated}

    def examples(self, key):
        of_train, of_test = jax.random.split(key)
        free = self.bits - self.constant
        train = self._train(of_train, self.evaluated)
        test = jnp.pad(_with_zeros(of_test, self.evaluated, self.constant), ((0, 0), (free, 0)), constant_values=1)
        ones, is_test = jnp.min(train, axis=1) == 1, (0, self.evaluated)
        splits = {"ones": jnp.pad(ones, is_test), "zeros": jnp.pad(~ones, is_test)}
        return self._said(jnp.concatenate([train, test])).replace(splits=splits)

    def draw(self, key: jax.Array, step: jax.Array, rows: int) -> Examples:
        """Train rows of one step."""
        del step
        return self._said(self._train(key, rows))

    def _train(self, key: jax.Array, rows: int) -> jax.Array:
        of_answers, of_zeros = jax.random.split(key)
        ones = jax.random.bernoulli(of_answers, shape=(rows, 1))
        drawn = jnp.where(ones, 1, _with_zeros(of_zeros, rows, self.bits - self.constant))
        return jnp.pad(drawn, ((0, 0), (0, self.constant)), constant_values=1)

    def _said(self, prompts: jax.Array) -> Examples:
        return self.said(prompts, jnp.full(len(prompts), self.bits, jnp.int32), self.bits)


def _with_zeros(key: jax.Array, rows: int, bits: int) -> jax.Array:
    """Rows of bits, of which 1 to all are 0, their number uniform, (rows, bits)."""
    of_count, of_place = jax.random.split(key)
    count = jax.random.randint(of_count, (rows, 1), 1, bits + 1, jnp.int32)
    rank = jnp.argsort(jax.random.uniform(of_place, (rows, bits), jnp.float32), axis=1)
    return (rank >= count).astype(jnp.int32)


def _at(values: jax.Array, place: jax.Array) -> jax.Array:
    """Values (…, n) at places (…, m), the nearest where there is none."""
    place = jnp.broadcast_to(jnp.clip(place, 0, values.shape[-1] - 1), (*values.shape[:-1], place.shape[-1]))
    return jnp.take_along_axis(values, place, axis=-1)


def _shuffled(key: jax.Array, count: int) -> jax.Array:
    """The numbers below `count` in random order."""
    return jnp.argsort(jax.random.uniform(key, (count,), jnp.float32)).astype(jnp.int32)


def _interleaved(first: jax.Array, second: jax.Array) -> jax.Array:
    """first[0], second[0], first[1], …"""
    return jnp.stack([first, second], axis=1).reshape(-1)
