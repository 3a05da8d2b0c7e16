"""Event logic without Flink's runtime."""
