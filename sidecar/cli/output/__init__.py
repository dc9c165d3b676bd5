"""What commands show: results in, text for people or JSON for programs out."""
