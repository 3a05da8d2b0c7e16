"""Tests that need no server of the stack."""
