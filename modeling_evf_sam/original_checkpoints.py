"""The former place of `originals.converting`."""

from .originals.converting import *  # noqa: F403
