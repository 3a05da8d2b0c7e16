"""The gateway and the read API."""
