"""Drawn scenes with sentences and exact masks, and what is learned from them."""
