# SPDX-License-Identifier: Apache-2.0
"""A run: its folder, its configuration, and the loop that draws missing samples."""
