"""Doors to label tools and services, each a few lines over the labeller. See docs/integrations.md."""
