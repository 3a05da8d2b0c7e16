"""One module for each server of the local stack."""
