# SPDX-License-Identifier: Apache-2.0
"""What the demo and the end-to-end tests share: a model server, its clients, and
a laboratory of network namespaces in which Weir guards the one from the others."""
from .lab import Lab, LabError, ROOT, wait_for

__all__ = ["Lab", "LabError", "ROOT", "wait_for"]
