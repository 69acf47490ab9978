"""How long a run was at work and what energy its GPUs took, from `system.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Consumption:
    """Sums over the rows; what nobody measured is None."""

    seconds: float
    kilowatt_hours: float | None


def consumption(system: pd.DataFrame) -> Consumption:
    """Of one machine. A row stands for the seconds since the row before, with the power it was measured at."""
    seconds = np.nan_to_num(system["seconds"].to_numpy())
    watts = system[[column for column in system if str(column).endswith("_watts")]].to_numpy()
    measured = np.isfinite(watts).any()
    joules = float((np.nan_to_num(watts) * seconds[:, None]).sum())
    return Consumption(float(seconds.sum()), joules / JOULES_PER_KWH if measured else None)
