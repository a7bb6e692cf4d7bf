# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from triton.backends.compiler import BaseBackend


class Compiler(BaseBackend):  # type: ignore[misc]
    @staticmethod
    def supports_target(target: Any) -> bool:
        return bool(target.backend == "cpu")

    def hash(self) -> str:
        return "gars-triton-cpu"

    def parse_options(self, options: Any) -> Any:
        return options

    def add_stages(self, stages: Any, options: Any, language: Any = None) -> None:
        raise NotImplementedError("kernels are interpreted, not compiled: set TRITON_INTERPRET=1")

    def load_dialects(self, context: Any) -> None:
        pass

    def get_module_map(self) -> dict[str, Any]:
        return {}
