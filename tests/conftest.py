# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import settings

# A first call may compile the kernels: seconds on one core, and no fault of the example.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
