"""The workbench that all tests here use."""

from tests.kit.lifecycle import workbench

__all__ = ["workbench"]
