"""How fast a model is, stage by stage, beside what it is compared with: `evf-sam bench`."""
