"""What is right by chance: of who knows how often each answer is asked for, and nothing else."""

from typing import Any

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.tasks.task import answers
from sweeps.studies.claims import Arm


def chance(arm: Arm, known: str = "train", asked: str = "test", by: int | None = None, label: int = -1) -> pd.Series:
    """The share of a split's rows whose answer is the most frequent one of another split's rows, by seed.

    An answer is one of a row's labels of weight above 0, a class. NaN for a seed without such rows.

    Args:
      arm: whose tasks have classes as labels.
      known: the split that is counted.
      asked: the split that is answered; rows without an answer are left out.
      by: place of a token in a row's inputs that says of which kind it is: then the most frequent answer of its kind
        is said, and nothing where `known` has none of it. None: all are of one kind.
      label: which of a row's labels of weight above 0 is its answer, from the last, -1.

    Raises:
      FieldError: there is no such split or token, or all rows have one answer, as where the last is a token that ends
        each: -2 is then the last before it.
    """

    def right(data: Any) -> float:
        for split in (known, asked):
            if split not in data.splits:
                raise FieldError("chance", split, f"must be one of {', '.join(data.splits)}")
        answer, there = map(np.asarray, answers(data.labels, data.weights, label))
        kind = np.zeros(len(answer), int)
        if by is not None:
            inputs = np.reshape(np.asarray(data.inputs), (len(answer), -1))
            if not -inputs.shape[1] <= by < inputs.shape[1]:
                raise FieldError("chance.by", by, f"must be a place in rows of {inputs.shape[1]} inputs")
            kind = inputs[:, by]
        seen, test = (np.asarray(data.splits[split]) & there for split in (known, asked))
        if test.any() and len(np.unique(answer[seen | test])) == 1:
            raise FieldError(
                "chance.label", label, "is the same in all rows, as a token that ends each is: give another"
            )
        usual = {k: np.bincount(answer[seen & (kind == k)]).argmax() for k in np.unique(kind[seen])}
        return float(np.mean([usual.get(k) == a for k, a in zip(kind[test], answer[test])])) if test.any() else np.nan

    return arm.mean(arm.of_rows(right))
