"""What goes to the Hub beside weights: the code, and the model card."""
