"""The builders that models/NAME/recipe.py share, and the Triton model repository that they fill."""
