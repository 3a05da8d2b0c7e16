"""Deploy, stop, upgrade, roll back: operations that a kill at any moment leaves mendable."""
