"""The files of EVF-SAM's authors and of the models that it builds on: read, converted, put together, written back."""
