"""Small Flink jobs that only tests run."""
