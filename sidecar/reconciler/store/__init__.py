"""Read and replace the document's file so that nobody's save is lost, whenever we are killed.

Out goes the present state of the file; in come the bytes that are to take its place. They are
refused where that state is not the present one any more: the caller reads again. What cannot be
done is a StoreError that says what to do about it. Nothing here knows what is in a document.
"""
