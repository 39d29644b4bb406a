"""From photos and sentences to masks: loading, predicting, and what becomes of the result."""
