"""The programs that make snapshots, behind one small interface."""
