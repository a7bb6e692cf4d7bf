# SPDX-License-Identifier: Apache-2.0
"""Names shared by vLLM's processes: import paths of processors, environment variables."""

PROCESSOR = "gars_vllm.engine.vllm.processor:GrammarProcessor"
CPU_PROCESSOR = "gars_vllm.engine.vllm.cpu_processor:CpuProcessor"  # with our own sampler
# Paths of files that the processor writes: mask time, and the samples' weights.
STATISTICS = "GARS_STATISTICS"
WEIGHTS = "GARS_WEIGHTS"
# Grammar files that requests may name: 1 for any, or a list as in PATH.
FILES_ALLOWED = "GARS_GRAMMAR_FILES"
