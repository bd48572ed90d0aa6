"""The stored runs of a directory as tables and arrays: what is stored knows nothing of what is said of it."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import xarray as xr

from jaxgen import FieldError
from jaxgen.components import unknown
from sweeps.axes.scales import Range
from sweeps.storage import launches, store
from sweeps.storage.workdir import Where, Workdir

Named = tuple[str | tuple[str, ...] | list[str], npt.ArrayLike]  # dimensions, values
HIDDEN = ("experiment", "provenance", "checksum")


class Runs:
    """The stored runs of a workdir.

    Args:
      workdir: where a sweep was run: a path, or a URI.
      run_ids: only these runs; all when left out.
      stopped_by: the signal that ended their training, if one did.
    """

    def __init__(self, workdir: Where, run_ids: set[str] | None = None, stopped_by: int | None = None):
        self.workdir, self.run_ids, self.stopped_by = Workdir.at(workdir), run_ids, stopped_by
        if not self.specification:
            raise FieldError("workdir", str(workdir), "holds no sweep: launch one there first")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.workdir)!r})"

    def only(self, run_ids: set[str]) -> Self:
        """The same, of these runs alone."""
        return type(self)(self.workdir, run_ids)

    @property
    def specification(self) -> dict[str, Any]:
        """The sweep's own record: name, base experiment, axes, definitions, launches, and files of launches unread."""
        held = self.workdir.read_specification()
        if not held:
            return {}
        told, unread = launches.looked_at(self.workdir)
        return {**held, "launches": launches.told(told), "unread": [path.name for path in unread]}

    @property
    def refined(self) -> dict[str, Range | list]:
        """The axes of a refined sweep (`sweeps.refine`): a `Range`, or the values that were allowed; else nothing."""
        return self.workdir.read_refinement(_sides) or {}

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run: `run_id`, `status`, `steps`, every field of its experiment, `final/…` values."""
        names = [c for c in store.columns(self.workdir) if not c.startswith("curve/") and c not in HIDDEN]
        return self.table(names).to_pandas()

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """The stored columns (see `sweeps.storage.store`), a row per run, in the order of run_ids."""
        return store.read(self.workdir, columns, self.run_ids).sort_by("run_id")

    def curves(self, *names: str) -> dict[str, np.ndarray]:
        """Curves, and "step", as float arrays (runs, evaluations, …) in the order of `runs`, NaN after a run's last.

        Raises:
          FieldError: a probe was not stored.
        """
        wanted = list(dict.fromkeys(("step", *names)))
        table = self.table([f"curve/{name}" for name in wanted])
        found: dict[str, np.ndarray] = {}
        for name in wanted:
            if f"curve/{name}" not in table.schema.names:
                raise unknown(name, self.curve_names)
            found[name] = _padded(table[f"curve/{name}"], found["step"].shape[1] if found else 0)
        return found

    @property
    def curve_names(self) -> list[str]:
        """What `curves` can give beside "step": every probe that any run stored."""
        names = (c.removeprefix("curve/") for c in store.columns(self.workdir) if c.startswith("curve/"))
        return [name for name in names if name != "step"]

    def to_xarray(self) -> xr.Dataset:
        """All runs as a dataset: dimension `run`, with each field that varies as a coordinate, and `evaluation`.

        It can be written as netCDF, of version 3 too; names have a dot where `runs` has a slash.
        """
        runs = self.runs
        if not len(runs):
            return xr.Dataset()
        data = {}
        for name, values in self.curves(*self.curve_names).items():
            inner = [f"{name}.{axis}".replace("/", ".") for axis in range(values.ndim - 2)]
            data[name] = (("run", "evaluation", *inner), values)
        fixed = [c for c in runs if runs[c].map(str).nunique() == 1 and c != "run_id"]
        varying = {c: ("run", runs[c].to_numpy()) for c in runs if c not in fixed}
        return dataset(data, varying, {c: runs[c].iloc[0] for c in fixed})


def _sides(refinement: Any) -> dict[str, Range | list]:
    sides = refinement["axes"].items()
    return {path: Range(**side) if isinstance(side, dict) else list(side) for path, side in sides}


def dataset(
    data: Mapping[str, Named], coordinates: Mapping[str, Named], attributes: Mapping[str, object]
) -> xr.Dataset:
    """An `xarray.Dataset` of (dimensions, values) by name that every version of netCDF can hold.

    So "/" in names becomes ".", other values than numbers and booleans are texts (what is missing among them ""), and
    whole numbers beyond 32 bits are floats; attributes that are None are left out, and booleans among them are 0 or 1.
    """
    variables, places = (
        {name.replace("/", "."): (dimensions, _netcdf(values)) for name, (dimensions, values) in part.items()}
        for part in (data, coordinates)
    )
    single = {
        name.replace("/", "."): _netcdf([value]).item() for name, value in attributes.items() if value is not None
    }
    return xr.Dataset(variables, places, {k: int(v) if isinstance(v, bool) else v for k, v in single.items()})


def _netcdf(values: object) -> np.ndarray:
    """An array of numbers, of booleans or of texts."""
    array = values if isinstance(values, np.ndarray) else pd.Series(values, dtype=object).to_numpy()
    if array.dtype == object:
        flat = [v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v for v in array.ravel()]
        missing = [v is None or v is pd.NA or v != v for v in flat]
        kinds = {type(v) for v, gone in zip(flat, missing) if not gone}
        if kinds and kinds <= {int, float}:
            flat = [np.nan if gone else v for v, gone in zip(flat, missing)]
        elif kinds != {bool} or any(missing):
            flat = ["" if gone else str(v) for v, gone in zip(flat, missing)]
        array = np.array(flat).reshape(array.shape)
    small = array.dtype.kind not in "iu" or np.abs(array.astype(float)).max(initial=0) < 2**31
    return array if small else array.astype(float)


def _padded(column: pa.ChunkedArray, least: int) -> np.ndarray:
    """Lists as rows (runs, evaluations), NaN after their ends and where there are none, at least so many columns."""
    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], column.type)
    lengths = pa.compute.fill_null(pa.compute.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    values, shape = lists.flatten(), []
    while pa.types.is_list(values.type):  # each evaluation has a vector or a matrix, all of one shape
        shape.append(len(values[0]) if len(values) else 0)
        values = values.flatten()
    padded = np.full((len(lengths), int(lengths.max(initial=least)), *shape), np.nan)
    known = np.arange(padded.shape[1])[None] < lengths[:, None]
    padded[known] = values.to_numpy(zero_copy_only=False).reshape(-1, *shape)
    return padded
