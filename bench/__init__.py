"""Benchmarks; results with machine and date lie in bench/results."""
