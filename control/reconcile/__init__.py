"""Prove that what `ingest` has committed stands in the stores, whole and once."""
