"""One module for each Flink job."""
