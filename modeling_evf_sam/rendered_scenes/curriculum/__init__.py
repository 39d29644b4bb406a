"""How the embedded checkpoint is trained, from nothing."""
