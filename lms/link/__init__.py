"""The only door to `dbus_next`: a bus connection that an unprivileged neighbour can neither end nor fill (DESIGN §5).

Of the library only messages and their marshalling are used. What is built on it here: a writer that survives a full
socket, ownership of every received descriptor, calls with deadlines, callers with credentials and quotas, and objects
declared as literal tables. It knows nothing of jobs, keys or packages.
"""
