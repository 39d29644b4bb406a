"""Answers looked at one by one: `evf-sam review`. What was accepted, corrected or denied becomes a data set."""
