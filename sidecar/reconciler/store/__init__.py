"""Read and replace the document's file so that nobody's save is lost, whenever we are killed.

In comes a function from the present bytes to the next ones. Out goes the replaced file,
or a StoreError that says what to do about it. Nothing here knows what is in a document.
"""
