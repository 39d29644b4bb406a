"""Photos with labelled masks, as data sets that other tools read."""
