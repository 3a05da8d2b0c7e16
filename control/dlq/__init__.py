"""Dead letters: found, shown, replayed and discarded."""
