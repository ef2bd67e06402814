"""What predictions are written as: one kind of files in each module, such as masks or a table of classes."""
