# SPDX-License-Identifier: Apache-2.0
"""Compiled updates of the records of weights.py: microseconds for 128 samples."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime.jit import njit


@njit
def add_steps(  # type: ignore[no-untyped-def]
    layout, whole, real, spots, keys, positions, log_z, overruled
):
    """Weights.add: `layout` is weights.LAYOUT; `whole`, `real` and `spots` are the records
    viewed as int64, float64 and int32."""
    KEY, STEPS, LOG_Z, SMALLEST, SMALLEST_AT = layout[0], layout[1], layout[2], layout[3], layout[4]
    OVERRULED, OVERRULED_AT, LAST, LAST_OVERRULED = layout[5], layout[6], layout[7], layout[8]
    UNCONSTRAINED, MOST = layout[9], layout[10]
    for i in range(keys.shape[0]):
        place, at = keys[i] % whole.shape[0], positions[i]
        if whole[place, KEY] != keys[i] + 1 or at == 0:
            whole[place, :] = 0
            whole[place, KEY], whole[place, UNCONSTRAINED] = keys[i] + 1, -1
        steps = whole[place, STEPS]
        if at > 0 and steps == at:  # the last step is final
            last, was_overruled = real[place, LAST], whole[place, LAST_OVERRULED]
            if at == 1 or last < real[place, SMALLEST]:
                real[place, SMALLEST], whole[place, SMALLEST_AT] = last, at - 1
            real[place, LOG_Z] += last
            if was_overruled:
                count = whole[place, OVERRULED]
                if count < MOST:
                    spots[place, 2 * OVERRULED_AT + count] = at - 1
                whole[place, OVERRULED] = count + 1
        elif at > 0 and steps != at + 1:
            real[place, LOG_Z] = np.nan
        real[place, LAST], whole[place, LAST_OVERRULED] = log_z[i], overruled[i]
        whole[place, STEPS] = at + 1
