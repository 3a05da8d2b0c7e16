"""What the long tests of the lifecycle need."""

from tests.kit.lifecycle import workbench

__all__ = ["workbench"]
