"""What both programs are made of whatever they do: how they start, end, beat and show pages."""
