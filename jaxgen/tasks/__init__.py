"""What is learned: each task is a table of examples cut into splits."""

from jaxgen.tasks.around import Around, has_classes, innermost
from jaxgen.tasks.classes import KnownClasses, Templates
from jaxgen.tasks.clusters import XorClusters, XorPoints
from jaxgen.tasks.comparison import Comparison
from jaxgen.tasks.corrupted import CorruptedLabels
from jaxgen.tasks.coverage import coverage_cutoff
from jaxgen.tasks.function_tables import FunctionTables, covered_shares, rows_to_cover
from jaxgen.tasks.groups import GroupProduct
from jaxgen.tasks.mixture import Mixture
from jaxgen.tasks.modular import (
    Modular,
    ModularAddition,
    ModularDivision,
    ModularMultiplication,
    ModularPolynomial,
    ModularSubtraction,
)
from jaxgen.tasks.parity import SparseParity
from jaxgen.tasks.quadratic import GaussianQuadratic
from jaxgen.tasks.split import exact_share, train_test
from jaxgen.tasks.strings import Conjunction, CopyString, CountUp, StringMode, StringParity, Strings
from jaxgen.tasks.subset import Subset
from jaxgen.tasks.task import Examples, Regression, Task, is_stream, table
from jaxgen.tasks.toy import ToyAddition, freedom
from jaxgen.tasks.tree_network import TreeNetwork
from jaxgen.tasks.two_hop import TwoHop

__all__ = [
    "Around",
    "Comparison",
    "Conjunction",
    "CopyString",
    "CorruptedLabels",
    "CountUp",
    "Examples",
    "FunctionTables",
    "GaussianQuadratic",
    "GroupProduct",
    "KnownClasses",
    "Mixture",
    "Modular",
    "ModularAddition",
    "ModularDivision",
    "ModularMultiplication",
    "ModularPolynomial",
    "ModularSubtraction",
    "Regression",
    "SparseParity",
    "StringMode",
    "StringParity",
    "Strings",
    "Subset",
    "Task",
    "Templates",
    "ToyAddition",
    "TreeNetwork",
    "TwoHop",
    "XorClusters",
    "XorPoints",
    "coverage_cutoff",
    "covered_shares",
    "exact_share",
    "freedom",
    "has_classes",
    "innermost",
    "is_stream",
    "rows_to_cover",
    "table",
    "train_test",
]
