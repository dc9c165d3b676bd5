"""What stands in the directory of the document, and what an interrupted write left there."""
