# SPDX-License-Identifier: Apache-2.0
"""The languages that come with the package: grammar files and their lexers."""
