"""Notifications: what they say, where they go, and the patience to get them there."""
