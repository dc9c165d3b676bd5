"""Notifications: of hooks that notify, and of the runner itself about its runs.

In come a hook's settings or a notice of a run. Out go requests to services, which wait in the
journal until they are sent, by a process of its own that knows HTTP and Apprise.
"""
