# SPDX-License-Identifier: Apache-2.0
"""Budget completion: how few tokens complete a text, and which."""
