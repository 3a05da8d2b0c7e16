"""The control plane against a real Flink."""

import pytest

# Its assertions are the test; without this they would not say what they saw.
pytest.register_assert_rewrite("tests.lifecycle.contract")
