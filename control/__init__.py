"""Sluice's control plane."""
