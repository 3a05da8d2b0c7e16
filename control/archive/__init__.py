"""Job code in archives: packed alike everywhere, kept by hash, unpacked whole or not at all."""
