"""Training: recipes, stages, and what each stage learns."""
