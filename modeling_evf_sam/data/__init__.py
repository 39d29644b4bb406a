"""Datasets, each yielding `ReferringSample`s."""
